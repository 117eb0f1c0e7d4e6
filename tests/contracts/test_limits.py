"""ports.AccessCache counts requests: exactly a token bucket per tenant, and one per tenant and route."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as any_

from shared_code.adapters.memory_access_cache import SECOND, MemoryAccessCache, charge, nanoseconds
from shared_code.ports import Ask
from tests.contracts.access import KEY, PROOF, FakeClock, Rig, new_grant, remember, standing
from tests.contracts.samples import NOW


async def test_the_limit_is_a_burst_and_then_a_refusal_that_says_when(rig: Rig):
    states = [await standing(remember(rig.cache)) for _ in range(7)]
    assert [state.remaining for state in states] == [4, 3, 2, 1, 0, 0, 0]
    assert [state.exceeded for state in states] == [False] * 5 + [True] * 2
    assert {state.limit for state in states} == {5}
    assert 11 <= states[-1].retry_after <= 12


async def test_reset_is_when_all_tokens_are_back(rig: Rig):
    first = await standing(remember(rig.cache))
    assert 11 <= first.reset - rig.now().timestamp() <= 13
    last = [await standing(rig.cache.look(KEY, PROOF)) for _ in range(6)][-1]
    assert 59 <= last.reset - rig.now().timestamp() <= 61


async def test_a_token_comes_back_every_share_of_a_minute(rig: Rig):
    for _ in range(5):
        await remember(rig.cache)
    await rig.forward(12.1)
    assert not (await standing(remember(rig.cache))).exceeded
    assert (await standing(remember(rig.cache))).exceeded
    await rig.forward(24.1)
    assert [(await standing(remember(rig.cache))).exceeded for _ in range(3)] == [False, False, True]


async def test_an_idle_minute_fills_the_bucket_and_no_more(rig: Rig):
    for _ in range(5):
        await remember(rig.cache)
    await rig.forward(600)
    assert [(await standing(remember(rig.cache))).exceeded for _ in range(6)] == [False] * 5 + [True]


async def test_refused_requests_cost_nothing(rig: Rig):
    for _ in range(20):
        await remember(rig.cache)
    await rig.forward(12.1)
    assert not (await standing(remember(rig.cache))).exceeded


async def test_a_tenants_keys_share_one_bucket_and_tenants_do_not(rig: Rig):
    mine, second, other = new_grant(), new_grant("pk_live_two"), new_grant("pk_live_three", partner_id=uuid4())
    for grant in (mine, second, mine, second, mine):
        assert not (await standing(remember(rig.cache, grant))).exceeded
    assert (await standing(remember(rig.cache, second))).exceeded
    assert not (await standing(remember(rig.cache, other))).exceeded


async def test_a_smaller_limit_of_one_key_holds_for_that_key(rig: Rig):
    narrow = new_grant("pk_live_two", limit_per_minute=1)
    assert not (await standing(remember(rig.cache, narrow))).exceeded
    assert (await standing(remember(rig.cache, narrow))).exceeded


async def test_of_fifty_at_once_the_limit_is_let_through(rig: Rig):
    await remember(rig.cache, new_grant(limit_per_minute=20))
    looks = await asyncio.gather(*(standing(rig.cache.look(KEY, PROOF)) for _ in range(50)))
    assert sum(not state.exceeded for state in looks) == 19


async def test_a_route_can_have_a_limit_of_its_own(rig: Rig):
    costly, other = Ask(route="sync", route_limit=2), Ask(route="connect", route_limit=2)
    await remember(rig.cache, new_grant(limit_per_minute=10))
    states = [await standing(rig.cache.look(KEY, PROOF, costly)) for _ in range(3)]
    assert [(state.limit, state.remaining, state.exceeded) for state in states] == [
        (2, 1, False),
        (2, 0, False),
        (2, 0, True),
    ]
    assert not (await standing(rig.cache.look(KEY, PROOF, other))).exceeded
    assert not (await standing(rig.cache.look(KEY, PROOF))).exceeded


async def test_who_is_over_a_routes_limit_takes_nothing_from_the_tenants(rig: Rig):
    costly = Ask(route="sync", route_limit=1)
    await remember(rig.cache)
    states = [await standing(rig.cache.look(KEY, PROOF, costly)) for _ in range(10)]
    assert [state.exceeded for state in states] == [False] + [True] * 9
    assert (await standing(rig.cache.look(KEY, PROOF))).remaining == 2


async def test_who_is_over_the_tenants_limit_takes_nothing_from_the_routes(rig: Rig):
    costly = Ask(route="sync", route_limit=2)
    for _ in range(5):
        await remember(rig.cache)
    for _ in range(3):
        assert (await standing(rig.cache.look(KEY, PROOF, costly))).limit == 5
    await rig.forward(13)
    assert not (await standing(remember(rig.cache))).exceeded


# ── The memory alone ─────────────────────────────────────────────────────────────────────────────

DIVISORS = any_.sampled_from([1, 2, 3, 5, 6, 8, 12, 60, 100, 1000])
REQUESTS = any_.lists(any_.integers(0, 70_000_000), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(limit=DIVISORS, waits=REQUESTS)
async def test_it_is_exactly_a_token_bucket(limit: int, waits: Sequence[int]):
    clock = FakeClock()
    cache, grant = MemoryAccessCache(clock), new_grant(limit_per_minute=limit)
    tokens = Fraction(limit)
    for microseconds in waits:
        clock.at += timedelta(microseconds=microseconds)
        tokens = min(Fraction(limit), tokens + Fraction(microseconds * limit, 60_000_000))
        state = await standing(remember(cache, grant))
        assert state.exceeded == (tokens < 1)
        tokens -= 0 if state.exceeded else 1
        assert state.remaining == (0 if state.exceeded else int(tokens))
        missing = Fraction(limit) - tokens
        assert abs(state.reset - clock.at.timestamp() - missing * 60 / limit) <= 1


@settings(max_examples=50, deadline=None)
@given(limit=any_.integers(1, 100_000), seconds=any_.integers(0, 120))
async def test_any_limit_is_a_burst_of_exactly_that_many(limit: int, seconds: int):
    now, step = nanoseconds(NOW) + seconds * SECOND, 60 * SECOND // limit
    _, first = charge(0, now, limit)
    _, last = charge(now + (limit - 1) * step, now, limit)
    _, beyond = charge(now + limit * step, now, limit)
    assert (first.remaining, first.exceeded) == (limit - 1, False)
    assert (last.remaining, last.exceeded) == (0, False)
    assert (beyond.remaining, beyond.exceeded) == (0, True)
