"""Svix-compatible servers of each worker's own, as its tests meet them."""

from collections.abc import Iterator

import pytest
from svix.api import Svix

from devstack.svix_server.testing.process import RunningServer, an_organization, running_server
from devstack.svix_server.testing.receiver import Receiver
from devstack.svix_server.testing.sdk import new_app


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("svix"), RETRY="0.05,0.05") as running:
        yield running


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Retries come only when the test has its clock advanced."""
    with running_server(tmp_path_factory.mktemp("slow"), RETRY="100,1") as running:
        yield running


@pytest.fixture
def svix(server: RunningServer) -> Iterator[Svix]:
    """Each test is an organisation of its own."""
    with server.client(an_organization()) as client:
        yield client


@pytest.fixture
def app(svix: Svix) -> str:
    return new_app(svix)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()
