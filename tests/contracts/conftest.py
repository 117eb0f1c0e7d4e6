"""Every contract of the store and of the access cache runs on every adapter of it."""

from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest

from shared_code.adapters.memory_store import MemoryStore
from shared_code.adapters.postgres_store import PostgresStore
from shared_code.ports import Store
from tests.contracts.access import Rig, memory_rig, redis_rig

EMPTY = b"""
DELETE FROM partners; DELETE FROM event_types; DELETE FROM outbox; DELETE FROM users;
DELETE FROM api_keys; DELETE FROM integration_logs; DELETE FROM idempotency_replies;
DELETE FROM reviews; DELETE FROM audit_heads;
"""


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store; without what a new installation begins with."""
    opened = MemoryStore() if request.param == "memory" else request.getfixturevalue("new_postgres_store")()
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def new_postgres_store(database_url: str) -> Iterator[Callable[[], PostgresStore]]:
    """Makes an empty store on this module's database; what an earlier one held is gone."""
    with psycopg.connect(database_url, autocommit=True) as connection:

        def make() -> PostgresStore:
            connection.execute(EMPTY)
            return PostgresStore(database_url)

        yield make


@pytest.fixture(params=["memory", "redis"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """An empty access cache, and a way to make time pass for it."""
    if request.param == "memory":
        yield memory_rig()
    else:
        async with redis_rig(request.getfixturevalue("redis_url")) as made:
            yield made
