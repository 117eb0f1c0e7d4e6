"""Failed proofs per address: counted for a minute, by all processes together, locally while Redis is down."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared_code.adapters.redis_client import Outage, connect
from shared_code.adapters.redis_strikes import WINDOW_SECONDS, RedisStrikes
from shared_code.adapters.redis_wire import RedisWire
from tests.services import free_port

HERE, THERE = "203.0.113.9", "2001:db8::1"


@pytest.fixture
async def strikes(client: Any) -> AsyncIterator[RedisStrikes]:
    wire = RedisWire(client)
    yield RedisStrikes(wire, Outage())
    await wire.close()


async def test_an_address_without_strikes_has_none(strikes: RedisStrikes):
    assert await strikes.count(HERE) == 0


async def test_strikes_are_counted_by_address_and_over_all_processes(strikes: RedisStrikes):
    other = RedisStrikes(strikes.wire, Outage())
    await asyncio.gather(*((strikes, other)[index % 2].add(HERE) for index in range(40)))
    await other.add(THERE)
    assert [await strikes.count(HERE), await other.count(HERE), await strikes.count(THERE)] == [40, 40, 1]


async def test_they_are_forgotten_a_minute_after_the_first(strikes: RedisStrikes, client: Any):
    await strikes.add(HERE)
    await client.expire(f"strikes:{HERE}", 20)
    await strikes.add(HERE)
    assert 0 < await client.ttl(f"strikes:{HERE}") <= 20
    await client.delete(f"strikes:{HERE}")
    assert await strikes.count(HERE) == 0
    await strikes.add(HERE)
    assert 20 < await client.ttl(f"strikes:{HERE}") <= WINDOW_SECONDS


async def test_they_survive_forgotten_scripts(strikes: RedisStrikes, client: Any):
    await strikes.add(HERE)
    await client.script_flush()
    await strikes.add(HERE)
    assert await strikes.count(HERE) == 2


async def test_while_redis_is_down_each_process_counts_its_own(monkeypatch: pytest.MonkeyPatch):
    strikes = RedisStrikes(RedisWire(connect(f"redis://127.0.0.1:{free_port()}/0")), Outage())
    minute = (time.monotonic() // WINDOW_SECONDS) * WINDOW_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: minute + 1)
    for _ in range(3):
        await strikes.add(HERE)
    assert [await strikes.count(HERE), await strikes.count(THERE)] == [3, 0]
    monkeypatch.setattr(time, "monotonic", lambda: minute + WINDOW_SECONDS + 1)
    assert await strikes.count(HERE) == 0
    await strikes.wire.close()
