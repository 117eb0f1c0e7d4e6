"""A Svix and a host for each module, to be killed."""

from collections.abc import Iterator

import pytest

from tests import services
from tests.functions.stack import Connect, Connected, Stack, running_stack
from tests.shared_servers import ask


@pytest.fixture(scope="module")
def svix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    with services.start_svix(tmp_path_factory.mktemp("svix")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, svix: services.Service) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("gateway"), svix, ask("partner")) as running:
        yield running


@pytest.fixture
def partner(connect: Connect) -> Connected:
    return connect()
