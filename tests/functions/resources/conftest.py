"""Two gateways for each worker: one over a Xano stand-in that can be told to fail, one over a liar."""

from collections.abc import Iterator

import httpx
import pytest

from tests import services
from tests.fault_proxy import Liar
from tests.functions.resources.backend import Gateway, Misled, Xano, new_gateway, web_client
from tests.functions.stack import Connected


@pytest.fixture(scope="package")
def xano_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Xano]:
    with services.start_xano(tmp_path_factory.mktemp("xano")) as service, web_client() as client:
        yield Xano(service, client)


@pytest.fixture(scope="package")
def over_xano(tmp_path_factory: pytest.TempPathFactory, xano_server: Xano) -> Iterator[Gateway]:
    folder, service = tmp_path_factory.mktemp("gateway"), xano_server.service
    with new_gateway(folder, XANO_API_URL=service.url, XANO_API_KEY=service.secret) as gateway:
        yield gateway


@pytest.fixture(scope="package")
def over_liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Liar]]:
    folder = tmp_path_factory.mktemp("misled")
    with Liar() as liar, new_gateway(folder, XANO_API_URL=f"{liar.url}/api:business") as gateway:
        yield gateway, liar


@pytest.fixture
def xano(xano_server: Xano, over_xano: Gateway) -> Iterator[Xano]:
    """In good health before and after the test, and nobody remembers how it was."""
    over_xano.settle()
    yield xano_server
    xano_server.is_well()
    over_xano.forget_circuits()


@pytest.fixture
def gateway(over_xano: Gateway, xano: Xano) -> Gateway:
    return over_xano


@pytest.fixture
def api(gateway: Gateway) -> httpx.Client:
    return gateway.api


@pytest.fixture
def partner(gateway: Gateway) -> Connected:
    """A partner for this test alone, that has not asked anything yet."""
    return gateway.connect()


@pytest.fixture
def liar(over_liar: tuple[Gateway, Liar]) -> Iterator[Liar]:
    yield over_liar[1]
    over_liar[0].forget_circuits()


@pytest.fixture
def misled(over_liar: tuple[Gateway, Liar], liar: Liar) -> Misled:
    gateway = over_liar[0]
    gateway.settle()
    return Misled(gateway, gateway.connect())
