"""A Xano to be killed, a host over it, and for each test a partner that signs what it sends."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from devstack.settings import EVERY_SECOND
from tests import services
from tests.functions.inbound.messages import new_secret, shape
from tests.functions.stack import Connect, Connected, Json, Stack, refused, running_stack
from tests.shared_servers import ask


@pytest.fixture(scope="package")
def xano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    with services.start_xano(tmp_path_factory.mktemp("xano")) as running:
        yield running


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, xano: services.Service) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("gateway")
    changes = {"XANO_API_URL": xano.url, "XANO_API_KEY": xano.secret, "INBOX_SCHEDULE": EVERY_SECOND}
    with running_stack(folder, ask("svix"), ask("partner"), **changes) as running:
        yield running


@pytest.fixture
def partner(connect: Connect) -> Connected:
    return connect()


@pytest.fixture
def secret(api: httpx.Client, partner: Connected) -> str:
    return new_secret(api, partner)


@pytest.fixture(scope="module")
def the_refusal(api: httpx.Client) -> Json:
    """What nobody's partner is answered."""
    problem = refused(api.post(f"/webhooks/partner/{uuid4()}", content=b"{}"), 400, "invalid_signature")
    assert (problem["title"], problem["error"]) == ("Invalid signature", "Invalid signature")
    return shape(problem)
