"""Limits counted in Redis: exact under parallel callers, never without an end, and through its accidents."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as any_

from shared_code.adapters.aesgcm_cipher import AesGcmCipher
from shared_code.adapters.degrading_access_cache import DegradingAccessCache
from shared_code.adapters.memory_access_cache import MemoryAccessCache
from shared_code.adapters.redis_access_cache import RedisAccessCache
from shared_code.adapters.redis_answers import RedisAnswers
from shared_code.adapters.redis_circuit import RedisCircuit
from shared_code.adapters.redis_client import PATIENCE, Outage, RedisDown, connect
from shared_code.adapters.redis_key_use import RedisKeyUse
from shared_code.adapters.redis_strikes import RedisStrikes
from shared_code.adapters.redis_wire import RedisWire
from shared_code.model import Grant, LimitState, PartnerStatus
from shared_code.ports import Ask, Look
from shared_code.ports.access import ONLY_ACCESS
from tests.services import free_port

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Process:
    """A Redis client of its own, as each process has one."""

    client: redis.asyncio.Redis
    cache: RedisAccessCache


def new_process(url: str) -> Process:
    client = redis.asyncio.Redis.from_url(url, max_connections=500)  # patient, unlike ours: this machine may be busy
    return Process(client, RedisAccessCache(RedisWire(client), AesGcmCipher({"c1": bytes(32)})))


@pytest.fixture
async def processes(redis_url: str) -> AsyncIterator[tuple[Process, Process]]:
    both = new_process(redis_url), new_process(redis_url)
    await both[0].client.flushdb()
    yield both
    for each in both:
        await each.cache.close()


@pytest.fixture
def one(processes: tuple[Process, Process]) -> Process:
    return processes[0]


@dataclass(frozen=True, slots=True)
class Caller:
    """A key with its secret."""

    grant: Grant
    proof: str = field(default_factory=lambda: uuid4().hex)

    async def look(self, cache: RedisAccessCache | DegradingAccessCache, ask: Ask = ONLY_ACCESS) -> Look:
        return await cache.look(self.grant.key_id, self.proof, ask)

    async def warm(self, cache: RedisAccessCache | DegradingAccessCache, ask: Ask = ONLY_ACCESS) -> Look:
        epoch = await cache.epoch(self.grant.tenant)
        return await cache.remember(self.grant.key_id, self.proof, self.grant, epoch, ask)


def new_caller(limit: int, partner_id: UUID | None = None) -> Caller:
    grant = Grant(
        key_id=f"pk_live_{uuid4().hex[:12]}",
        partner_id=partner_id or uuid4(),
        partner_status=PartnerStatus.ACTIVE,
        scopes=("read:*",),
        limit_per_minute=limit,
        expires_at=datetime.now(UTC) + timedelta(days=1),
    )
    return Caller(grant)


def standing(look: Look) -> LimitState:
    assert look.limit
    return look.limit


def admitted(looks: Sequence[Look]) -> int:
    return sum(not standing(look).exceeded for look in looks)


async def names(client: Any, pattern: str = "*") -> list[str]:
    return sorted([name.decode() async for name in client.scan_iter(pattern)])


# ── Exactness ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tenants", [1, 4])
async def test_of_four_hundred_at_once_over_two_processes_exactly_the_entitled_pass(
    processes: tuple[Process, Process], tenants: int
):
    """100 at once, and one more for every 0.6 seconds that the whole run takes."""
    callers = [new_caller(100) for _ in range(tenants)]
    began = time.monotonic()
    firsts = [await caller.warm(processes[0].cache) for caller in callers]
    for caller, first in zip(callers, firsts, strict=True):
        looks = await asyncio.gather(*(caller.look(processes[index % 2].cache) for index in range(400)))
        refilled = (time.monotonic() - began) / 0.6
        assert 100 <= admitted([first, *looks]) <= 100 + refilled
        remaining = [standing(look).remaining for look in looks if not standing(look).exceeded]
        assert min(remaining) == 0


async def test_what_one_process_counts_the_other_knows(processes: tuple[Process, Process]):
    caller = new_caller(10)
    await caller.warm(processes[0].cache)
    seen = [standing(await caller.look(processes[index % 2].cache)).remaining for index in range(9)]
    assert seen == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    refused = standing(await caller.look(processes[1].cache))
    assert (refused.exceeded, refused.remaining, 1 <= refused.retry_after <= 6) == (True, 0, True)


async def test_keys_of_one_partner_share_its_limit(processes: tuple[Process, Process]):
    first = new_caller(6)
    second = new_caller(6, first.grant.partner_id)
    await first.warm(processes[0].cache)
    await second.warm(processes[1].cache)
    looks = await asyncio.gather(*(each.look(processes[0].cache) for each in (first, second) * 5))
    assert admitted(looks) == 4


@settings(max_examples=25, deadline=None)
@given(
    limit=any_.sampled_from([1, 2, 7, 60, 100, 333]),
    waits=any_.lists(any_.floats(0, 30), min_size=1, max_size=25),
    ask=any_.sampled_from([1, 3, 10]),
)
async def test_it_never_admits_more_than_the_burst_and_what_time_gave_back(
    redis_url: str, limit: int, waits: Sequence[float], ask: int
):
    """Redis's clock cannot be moved, so what it noted is made older."""
    process, caller = new_process(redis_url), new_caller(limit)
    began, passed, count = time.monotonic(), 0.0, 0
    try:
        looks = [await caller.warm(process.cache)]
        for wait in waits:
            await age(process.client, f"limit:{caller.grant.tenant}", wait)
            passed += wait
            looks += [await caller.look(process.cache) for _ in range(ask)]
            count = admitted(looks)
            assert count <= limit + limit * (passed + time.monotonic() - began) / MINUTE + 1e-6
        assert count >= min(len(looks), limit)
    finally:
        await process.cache.close()


async def age(client: Any, name: str, seconds: float) -> None:
    due = int(await client.get(name) or 0)
    if due:
        await client.set(name, due - round(seconds * 1_000_000), keepttl=True)


# ── A limit of a route ───────────────────────────────────────────────────────────────────────────


async def test_a_routes_limit_is_narrower_and_counts_within_the_partners(one: Process):
    caller, costly = new_caller(5), Ask(route="sync", route_limit=3)
    await caller.warm(one.cache)
    states = [standing(await caller.look(one.cache, costly)) for _ in range(4)]
    assert [(state.limit, state.exceeded) for state in states] == [(3, False)] * 3 + [(3, True)]
    other = Ask(route="connect", route_limit=1000)
    left = [standing(await caller.look(one.cache, other)) for _ in range(3)]
    assert left[-1].exceeded
    assert left[-1].limit == 5


async def test_a_routes_limit_wider_than_the_partners_changes_nothing(one: Process):
    caller, wide = new_caller(2), Ask(route="sync", route_limit=1000)
    await caller.warm(one.cache)
    states = [standing(await caller.look(one.cache, wide)) for _ in range(2)]
    assert [(state.limit, state.exceeded) for state in states] == [(2, False), (2, True)]


async def test_the_house_has_no_limit_for_a_route(one: Process):
    house = Caller(replace(new_caller(1000).grant, partner_id=None, partner_status=None))
    await house.warm(one.cache)
    states = [standing(await house.look(one.cache, Ask(route="sync", route_limit=1))) for _ in range(5)]
    assert {(state.limit, state.exceeded) for state in states} == {(1000, False)}


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────


async def test_refusals_are_counted_per_partner_over_all_processes_for_an_hour(processes: tuple[Process, Process]):
    caller, other = new_caller(1), new_caller(1)
    for each in (caller, other):
        await each.warm(processes[0].cache)
    counts = [(await caller.look(processes[index % 2].cache)).refusals for index in range(12)]
    assert counts == list(range(1, 13))
    assert (await other.look(processes[0].cache)).refusals == 1
    assert 3500 < await processes[0].client.ttl(f"refused:{caller.grant.tenant}") <= 3600


async def test_an_admitted_request_counts_as_no_refusal(one: Process):
    caller = new_caller(100)
    looks = [await caller.warm(one.cache), *[await caller.look(one.cache) for _ in range(5)]]
    assert {look.refusals for look in looks} == {0}
    assert await names(one.client, "refused:*") == []


# ── Nothing stays for ever ───────────────────────────────────────────────────────────────────────


async def test_every_key_in_the_database_ends_by_itself(redis_url: str, one: Process):
    """All that the adapters ever write, written; then the whole database is looked through."""
    outage, client, wire = Outage(), one.client, one.cache.wire
    answers, circuit, strikes = RedisAnswers(wire, outage), RedisCircuit(wire, outage), RedisStrikes(wire, outage)
    ask = Ask(route="sync", route_limit=2, resource="orders", answer="all")
    for limit in (1, 1, 50, 100_000):
        caller = new_caller(limit)
        await caller.warm(one.cache, ask)
        looks = [await caller.look(one.cache, ask) for _ in range(4)]
        await answers.keep(caller.grant.tenant, "orders", looks[0].generation, "all", b"{}", 30)
        await answers.drop(caller.grant.tenant, "orders")
        await one.cache.forget(caller.grant.tenant)
    for _ in range(3):
        await strikes.add("203.0.113.9")
    for name in ("backend", "partner:1"):
        for _ in range(6):
            await circuit.report(name, ok=False)
        await client.delete(f"circuit:{name}:resting")
        assert await circuit.closed(name)
    await circuit.report("backend", ok=True)
    await circuit.report("backend", ok=False)
    written = await names(client)
    kinds = {name.partition(":")[0] for name in written}
    assert kinds == {
        "proof",
        "state",
        "epoch",
        "limit",
        "refused",
        "used",
        "generation",
        "answer",
        "strikes",
        "circuit",
    }
    endless = [name for name in written if await client.ttl(name) == -1]  # -2: gone in time, since it was listed
    assert endless == []


async def test_a_bucket_ends_when_it_is_full_again(one: Process):
    caller = new_caller(60)
    await caller.warm(one.cache)
    assert 0 < await one.client.pttl(f"limit:{caller.grant.tenant}") <= 1000
    for _ in range(59):
        await caller.look(one.cache)
    assert 50_000 < await one.client.pttl(f"limit:{caller.grant.tenant}") <= 60_000


async def test_the_marks_of_use_are_taken_once_and_then_gone(one: Process):
    callers = [new_caller(5) for _ in range(25)]
    for caller in callers:
        await caller.warm(one.cache)
        await caller.look(one.cache)
    uses = RedisKeyUse(one.cache.wire, Outage())
    taken = [await uses.take(10) for _ in range(4)]
    assert [len(each) for each in taken] == [10, 10, 5, 0]
    assert {key_id for each in taken for key_id in each} == {caller.grant.key_id for caller in callers}
    now = datetime.now(UTC)
    assert all(now - timedelta(minutes=5) < at <= now for each in taken for at in each.values())
    assert await names(one.client, "used") == []


async def test_a_refused_request_is_no_use_of_its_key(one: Process):
    caller = new_caller(1)
    await caller.warm(one.cache)
    await RedisKeyUse(one.cache.wire, Outage()).take(10)
    assert standing(await caller.look(one.cache)).exceeded
    assert await names(one.client, "used") == []


# ── Accidents ────────────────────────────────────────────────────────────────────────────────────


async def test_forgotten_scripts_are_loaded_again(one: Process):
    caller = new_caller(100)
    await caller.warm(one.cache)
    await one.client.script_flush()
    assert (await caller.look(one.cache)).grant == caller.grant
    await one.client.script_flush()
    assert not standing(await caller.warm(one.cache)).exceeded


async def test_an_emptied_redis_knows_nothing_and_learns_again(one: Process):
    caller = new_caller(3)
    await caller.warm(one.cache)
    for _ in range(5):
        await caller.look(one.cache)
    await one.client.flushdb()
    assert await caller.look(one.cache) == Look()
    assert standing(await caller.warm(one.cache)).remaining == 2


async def test_a_grant_that_cannot_be_opened_is_none_and_the_store_is_asked(one: Process):
    """Somebody wrote it into Redis, or an instance with another CACHE_KEY or of another version did."""
    caller, other = new_caller(10), new_caller(10)
    for each in (caller, other):
        await each.warm(one.cache)
    client: Any = one.client
    stolen = await client.hget(f"state:{other.grant.key_id}", "sealed")
    of_another_version = AesGcmCipher({"c1": bytes(32)}).seal(b"{}", caller.grant.key_id, "grant")
    of_another_key = AesGcmCipher({"c1": bytes([7] * 32)}).seal(b"{}", caller.grant.key_id, "grant")
    for forged in (stolen, of_another_version, of_another_key, b"v1.c1.nonsense", b"\xff", b""):
        await client.hset(f"state:{caller.grant.key_id}", "sealed", forged)
        assert await caller.look(one.cache) == Look(proven=True)
    await caller.warm(one.cache)
    assert (await caller.look(one.cache)).grant == caller.grant


async def test_a_redis_that_is_not_there_is_reported_down_at_once():
    cache = RedisAccessCache(RedisWire(connect(f"redis://127.0.0.1:{free_port()}/0")), AesGcmCipher({"c1": bytes(32)}))
    began = time.monotonic()
    with pytest.raises(RedisDown):
        await new_caller(5).look(cache)
    assert time.monotonic() - began < 5
    await cache.close()


async def test_a_redis_that_does_not_answer_is_reported_down_in_a_fraction_of_a_second():
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cache = RedisAccessCache(RedisWire(connect(f"redis://127.0.0.1:{port}/0")), AesGcmCipher({"c1": bytes(32)}))
    began = time.monotonic()
    with pytest.raises(RedisDown):
        await new_caller(5).look(cache)
    assert PATIENCE * 0.9 < time.monotonic() - began < 5
    await cache.close()
    server.close()


def degrading(process: Process) -> DegradingAccessCache:
    return DegradingAccessCache(process.cache, MemoryAccessCache(), Outage())


async def test_while_redis_is_down_a_key_that_was_proven_stays_proven(one: Process):
    """A flood of bcrypt would be the second outage."""
    caller, cache = new_caller(2), degrading(one)
    await caller.warm(one.cache)
    assert (await caller.look(cache)).grant
    cache.outage.begin(RedisDown("test"))
    assert await caller.look(cache) == Look(proven=True, degraded=True)
    assert await new_caller(2).look(cache) == Look(degraded=True)
    assert await replace(caller, proof="another secret").look(cache) == Look(degraded=True)
    states = [
        standing(await caller.warm(cache)),
        standing(await caller.warm(cache)),
        standing(await caller.warm(cache)),
    ]
    assert [state.exceeded for state in states] == [False, False, True]


async def test_a_redis_that_came_back_empty_costs_no_bcrypt_either(one: Process):
    caller, cache = new_caller(5), degrading(one)
    await caller.warm(one.cache)
    await caller.look(cache)
    await one.client.flushdb()
    assert await caller.look(cache) == Look(proven=True)


async def test_an_outage_is_over_by_itself(one: Process, monkeypatch: pytest.MonkeyPatch):
    caller, cache = new_caller(5), degrading(one)
    await caller.warm(one.cache)
    cache.outage.begin(RedisDown("test"))
    assert (await caller.look(cache)).degraded
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2.5)
    assert not (await caller.look(cache)).degraded


async def test_a_process_that_was_busy_does_not_take_redis_for_dead(redis_url: str):
    """Its time runs out while it is at something else; Redis has answered long since."""
    client = connect(redis_url)
    cache = DegradingAccessCache(
        RedisAccessCache(RedisWire(client), AesGcmCipher({"c1": bytes(32)})), MemoryAccessCache(), Outage()
    )
    caller = new_caller(100)
    await eventually_warm(caller, cache)
    for _ in range(3):
        waiting = asyncio.ensure_future(caller.look(cache))
        await asyncio.sleep(0)
        time.sleep(PATIENCE * 3)
        assert not (await waiting).degraded
    await cache.close()


async def eventually_warm(caller: Caller, cache: DegradingAccessCache) -> None:
    while (await caller.look(cache)).degraded or not (await caller.warm(cache)).grant:
        await asyncio.sleep(0.1)


async def test_a_burst_over_a_lost_connection_does_not_take_redis_for_dead(redis_url: str):
    """Two hundred callers open one between them."""
    client = connect(redis_url)
    cache = DegradingAccessCache(
        RedisAccessCache(RedisWire(client), AesGcmCipher({"c1": bytes(32)})), MemoryAccessCache(), Outage()
    )
    caller = new_caller(10_000)
    await eventually_warm(caller, cache)
    await cache.shared.wire.close()
    looks = await asyncio.gather(*(caller.look(cache) for _ in range(200)))
    await cache.close()
    assert [look.degraded for look in looks].count(True) == 0


async def test_two_hundred_who_wait_for_a_hung_redis_wait_for_it_together():
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    cache = DegradingAccessCache(
        RedisAccessCache(RedisWire(client), AesGcmCipher({"c1": bytes(32)})), MemoryAccessCache(), Outage()
    )
    caller, began = new_caller(10_000), time.monotonic()
    looks = await asyncio.gather(*(caller.look(cache) for _ in range(200)))
    took = time.monotonic() - began
    await cache.close()
    server.close()
    assert all(look.degraded for look in looks)
    assert took < PATIENCE * 50
