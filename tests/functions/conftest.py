"""One running gateway per test worker, started when a test first wants it.

A folder or a file that kills its gateway, or wants another, has a `stack` of its own; all else here follows it.
"""

from collections.abc import Iterator

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, settings

from tests.functions.stack import Connect, Connected, Headers, Receiver, Stack, connecting, running_stack
from tests.shared_servers import ask

settings.register_profile("pinksync", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pinksync")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("gateway"), ask("svix"), ask("partner")) as running:
        yield running


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[psycopg.Connection]:
    """The gateway's own, from behind its back."""
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Headers:
    return stack.admin


@pytest.fixture(scope="module")
def partner_url(stack: Stack) -> str:
    return stack.partner_url


@pytest.fixture(scope="module")
def connect(api: httpx.Client, admin: Headers) -> Connect:
    return connecting(api, admin)


@pytest.fixture(scope="module")
def partner(connect: Connect) -> Connected:
    """This module's own partner, for tests that do not change it."""
    return connect()


@pytest.fixture(scope="module")
def other(connect: Connect) -> Connected:
    """Another partner: nothing of this one's is its business."""
    return connect(name="Other Shop")


@pytest.fixture
def receiver(partner_url: str) -> Receiver:
    return Receiver(partner_url)
