"""One partner per module, a gateway per test."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from shared_code.gateway import Gateway
from shared_code.settings import load
from tests import services
from tests.shared_servers import ask
from tests.shop import Shop, new_shop
from tests.sync.house import Clock, House


@pytest.fixture(scope="module")
def shop_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with new_shop(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def shop(shop_server: Shop) -> Shop:
    shop_server.begins_with(orders=60)
    return shop_server


@pytest.fixture(scope="module")
def xano() -> Iterator[httpx.Client]:
    """The backend as its operator sees it."""
    server = ask("xano")
    headers = {"Authorization": f"Bearer {server.secret}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
async def house(database_url: str, redis_url: str, shop: Shop, xano: httpx.Client) -> AsyncIterator[House]:
    server, clock = ask("xano"), Clock()
    env = services.app_environment(
        database_url,
        redis_url,
        XANO_API_URL=server.url,
        XANO_API_KEY=server.secret,
        SYNC_DISABLE_FAILURES="3",
        SYNC_DISABLE_DAYS="2",
        AUDIT_STORAGE_CONNECTION_STRING="",
    )
    gateway = Gateway(load(env), now=clock)
    yield House(gateway, clock, shop, xano)
    await gateway.close()
