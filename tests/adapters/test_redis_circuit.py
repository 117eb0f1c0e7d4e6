"""Circuit breakers in Redis: open for all processes at once, one probe at a time, and local while Redis is down."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from shared_code.adapters.redis_circuit import FEWEST, OPEN_SECONDS, PROBE_SECONDS, WINDOW_SECONDS, RedisCircuit
from shared_code.adapters.redis_client import Outage, RedisDown, connect
from shared_code.adapters.redis_wire import RedisWire
from tests.services import free_port

NAME = "backend"


@pytest.fixture
async def circuit(client: Any) -> AsyncIterator[RedisCircuit]:
    wire = RedisWire(client)
    yield RedisCircuit(wire, Outage())
    await wire.close()


async def fail(circuit: RedisCircuit, times: int, name: str = NAME) -> None:
    for _ in range(times):
        await circuit.report(name, ok=False)


async def succeed(circuit: RedisCircuit, times: int) -> None:
    for _ in range(times):
        await circuit.report(NAME, ok=True)


async def over(client: Any, what: str, name: str = NAME) -> None:
    """Its time is up: Redis's clock cannot be moved."""
    assert await client.delete(f"circuit:{name}:{what}") == 1


async def test_a_circuit_nobody_reported_on_is_closed(circuit: RedisCircuit):
    assert await circuit.closed(NAME)
    await succeed(circuit, 3)
    assert await circuit.closed(NAME)


async def test_fewer_than_five_failures_open_nothing(circuit: RedisCircuit):
    await fail(circuit, FEWEST - 1)
    assert await circuit.closed(NAME)
    await fail(circuit, 1)
    assert not await circuit.closed(NAME)


async def test_failures_among_more_successes_open_nothing(circuit: RedisCircuit):
    for _ in range(20):
        await succeed(circuit, 2)
        await fail(circuit, 1)
    assert await circuit.closed(NAME)


async def test_when_half_of_the_calls_fail_it_opens(circuit: RedisCircuit):
    await fail(circuit, 1)
    await succeed(circuit, FEWEST)
    await fail(circuit, FEWEST - 1)
    assert not await circuit.closed(NAME)


async def test_failures_of_another_window_do_not_count(circuit: RedisCircuit, client: Any):
    await fail(circuit, FEWEST - 1)
    assert 0 < await client.ttl(f"circuit:{NAME}:counts") <= WINDOW_SECONDS
    await over(client, "counts")
    await fail(circuit, FEWEST - 1)
    assert await circuit.closed(NAME)


async def test_it_opens_for_every_process_and_for_that_name_alone(circuit: RedisCircuit, redis_url: str):
    other = RedisCircuit(RedisWire(connect(redis_url)), Outage())
    await fail(circuit, FEWEST)
    assert [await other.closed(NAME), await other.closed("partner:1")] == [False, True]
    await other.wire.close()


async def test_after_its_rest_one_probe_goes_through_of_many(circuit: RedisCircuit, client: Any):
    await fail(circuit, FEWEST)
    assert 0 < await client.ttl(f"circuit:{NAME}:resting") <= OPEN_SECONDS
    assert not any(await asyncio.gather(*(circuit.closed(NAME) for _ in range(50))))
    await over(client, "resting")
    assert sum(await asyncio.gather(*(circuit.closed(NAME) for _ in range(50)))) == 1
    assert 0 < await client.ttl(f"circuit:{NAME}:probing") <= PROBE_SECONDS
    await over(client, "probing")
    assert await circuit.closed(NAME)


async def test_a_probe_that_fails_opens_it_again_and_one_that_succeeds_closes_it(circuit: RedisCircuit, client: Any):
    await fail(circuit, FEWEST)
    await over(client, "resting")
    assert await circuit.closed(NAME)
    await fail(circuit, 1)
    assert not await circuit.closed(NAME)
    await over(client, "resting")
    await over(client, "probing")
    assert await circuit.closed(NAME)
    await succeed(circuit, 1)
    assert all([await circuit.closed(NAME) for _ in range(5)])
    assert await client.keys("circuit:*") == []
    await fail(circuit, FEWEST - 1)
    assert await circuit.closed(NAME)


async def test_forgotten_scripts_and_an_emptied_redis_close_it_at_worst(circuit: RedisCircuit, client: Any):
    await fail(circuit, FEWEST)
    await client.script_flush()
    assert not await circuit.closed(NAME)
    await client.script_flush()
    await fail(circuit, 1)
    await client.flushdb()
    assert await circuit.closed(NAME)


# ── While Redis is down ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def alone() -> AsyncIterator[RedisCircuit]:
    """A process whose Redis is not there."""
    circuit = RedisCircuit(RedisWire(connect(f"redis://127.0.0.1:{free_port()}/0")), Outage())
    yield circuit
    await circuit.wire.close()


type Later = Callable[[float], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Moves this process's clock on."""
    began = time.monotonic()

    def move(seconds: float) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: began + seconds)

    move(0)
    return move


async def test_each_process_has_a_circuit_of_its_own_while_redis_is_down(alone: RedisCircuit, later: Later):
    assert await alone.closed(NAME)
    await fail(alone, FEWEST)
    assert [await alone.closed(NAME), await alone.closed("partner:1")] == [False, True]
    later(OPEN_SECONDS - 1)
    assert not await alone.closed(NAME)
    later(OPEN_SECONDS + 1)
    assert [await alone.closed(NAME) for _ in range(3)] == [True, False, False]
    later(OPEN_SECONDS + 1 + PROBE_SECONDS)
    assert await alone.closed(NAME)
    await succeed(alone, 1)
    assert [await alone.closed(NAME) for _ in range(3)] == [True] * 3


async def test_a_local_probe_that_fails_opens_it_again(alone: RedisCircuit, later: Later):
    await fail(alone, FEWEST)
    later(OPEN_SECONDS + 1)
    assert await alone.closed(NAME)
    await fail(alone, 1)
    later(OPEN_SECONDS + 5)
    assert not await alone.closed(NAME)


async def test_old_failures_and_failures_among_successes_do_not_open_the_local_one(alone: RedisCircuit, later: Later):
    await fail(alone, FEWEST - 1)
    later(WINDOW_SECONDS + 1)
    await fail(alone, FEWEST - 1)
    assert await alone.closed(NAME)
    for _ in range(20):
        await succeed(alone, 2)
        await fail(alone, 1)
    assert await alone.closed(NAME)


async def test_an_open_local_circuit_refuses_without_waiting_for_redis(alone: RedisCircuit):
    await fail(alone, FEWEST)
    alone.outage.begin(RedisDown("test"))
    assert await quickest(lambda: alone.closed(NAME)) < 0.05


async def quickest(ask: Callable[[], Awaitable[bool]]) -> float:
    times: list[float] = []
    for _ in range(5):
        began = time.monotonic()
        assert not await ask()
        times.append(time.monotonic() - began)
    return min(times)
