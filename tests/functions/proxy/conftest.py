"""One example partner for each worker, and one that says what it is told to."""

from collections.abc import Iterator

import pytest

from tests.fault_proxy import Liar, json_answer
from tests.functions.stack import Connect, Connected
from tests.shop import Shop, new_shop


@pytest.fixture(scope="package")
def shop_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with new_shop(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def shop(shop_server: Shop) -> Shop:
    shop_server.behaves()
    return shop_server


@pytest.fixture
def partner(shop: Shop, connect: Connect) -> Connected:
    return connect(api_endpoint=shop.endpoint, credentials=shop.credentials)


@pytest.fixture(scope="package")
def liars_server() -> Iterator[Liar]:
    with Liar() as liar:
        yield liar


@pytest.fixture
def liar(liars_server: Liar) -> Liar:
    liars_server.tells(json_answer(b"{}"))
    return liars_server


@pytest.fixture
def false_friend(liar: Liar, connect: Connect) -> Connected:
    """A partner whose API is the liar, below /base."""
    return connect(api_endpoint=f"{liar.url}/base", credentials={"api_key": "its-key"})
