"""What the adapters' own tests start from."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from tests.adapters.migrations import add, rows
from tests.shared_servers import new_database


@pytest.fixture(scope="module")
def spare_database() -> Iterator[str]:
    with new_database(migrated=False) as url:
        yield url


@pytest.fixture
def bare_database(spare_database: str) -> str:
    """A database without tables."""
    rows(spare_database, b"DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return spare_database


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    """A folder of migrations that make a table and put two rows in it."""
    add(tmp_path, "0001_things.sql", "CREATE TABLE things (id integer PRIMARY KEY, name text);\n")
    add(
        tmp_path, "0002_first_thing.sql", "INSERT INTO things VALUES (1, '100% one');\nINSERT INTO things VALUES (2);\n"
    )
    return tmp_path


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    """Of an empty Redis."""
    client = redis.asyncio.Redis.from_url(redis_url, max_connections=200)
    await client.flushdb()
    yield client
    await client.aclose()
