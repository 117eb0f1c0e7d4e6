"""ports.AccessCache: what was proven is remembered, and a change is seen at once."""

from uuid import uuid4

import pytest

from shared_code import errors
from shared_code.adapters import memory_access_cache
from shared_code.adapters.memory_access_cache import MemoryAccessCache
from shared_code.model import Grant, PartnerStatus
from shared_code.ports import Look
from tests.contracts.access import KEY, PROOF, FakeClock, Rig, new_grant, remember, standing

# ── What is remembered ───────────────────────────────────────────────────────────────────────────


async def test_nothing_is_known_of_a_new_key(rig: Rig):
    assert await rig.cache.look(KEY, PROOF) == Look()


@pytest.mark.parametrize(
    "grant",
    [
        new_grant(),
        new_grant(partner_status=PartnerStatus.SUSPENDED, expires_at=None, scopes=()),
        new_grant(partner_id=None, partner_status=None, scopes=("admin",), limit_per_minute=60_000),
    ],
)
async def test_a_remembered_grant_comes_back_whole_with_the_request_counted(rig: Rig, grant: Grant):
    remembered = await remember(rig.cache, grant)
    assert (remembered.proven, remembered.grant) == (True, grant)
    look = await rig.cache.look(grant.key_id, PROOF)
    assert (look.proven, look.grant, look.degraded) == (True, grant, False)
    assert look.limit
    assert look.limit.limit == grant.limit_per_minute


async def test_another_secret_for_a_known_key_proves_nothing_and_costs_the_owner_nothing(rig: Rig):
    await remember(rig.cache)
    for _ in range(10):
        assert await rig.cache.look(KEY, "proof-of-another") == Look()
    assert (await standing(rig.cache.look(KEY, PROOF))).remaining == 3


async def test_a_proof_outlives_the_grant(rig: Rig):
    await remember(rig.cache)
    await rig.forward(59)
    assert (await rig.cache.look(KEY, PROOF)).grant
    await rig.forward(2)
    assert await rig.cache.look(KEY, PROOF) == Look(proven=True)


async def test_a_proof_is_forgotten_after_an_hour(rig: Rig):
    await remember(rig.cache)
    await rig.forward(59 * 60)
    assert (await rig.cache.look(KEY, PROOF)).proven
    await rig.forward(2 * 60)
    assert await rig.cache.look(KEY, PROOF) == Look()


async def test_what_is_remembered_last_holds(rig: Rig):
    await remember(rig.cache)
    changed = new_grant(scopes=("read:orders",), limit_per_minute=50)
    await remember(rig.cache, changed)
    look = await rig.cache.look(KEY, PROOF)
    assert look.grant == changed
    assert look.limit
    assert look.limit.limit == 50


# ── What is forgotten ────────────────────────────────────────────────────────────────────────────


async def test_forgetting_a_tenant_voids_its_grants_and_no_others(rig: Rig):
    mine, second, other = new_grant(), new_grant("pk_live_two"), new_grant("pk_live_three", partner_id=uuid4())
    for grant in (mine, second, other):
        await remember(rig.cache, grant, proof=grant.key_id)
    await rig.cache.forget(mine.tenant)
    assert await rig.cache.look(mine.key_id, mine.key_id) == Look(proven=True)
    assert await rig.cache.look(second.key_id, second.key_id) == Look(proven=True)
    assert (await rig.cache.look(other.key_id, other.key_id)).grant == other


async def test_what_was_read_before_a_change_is_not_used_after_it(rig: Rig):
    before = await rig.cache.epoch(new_grant().tenant)
    await rig.cache.forget(new_grant().tenant)
    late = await rig.cache.remember(KEY, PROOF, new_grant(), before)
    assert late.limit
    assert late.limit.remaining == 4
    assert await rig.cache.look(KEY, PROOF) == Look(proven=True)


async def test_what_is_read_after_a_change_is_used(rig: Rig):
    await remember(rig.cache)
    for _ in range(2):
        await rig.cache.forget(new_grant().tenant)
    changed = new_grant(partner_status=PartnerStatus.SUSPENDED)
    await remember(rig.cache, changed)
    assert (await rig.cache.look(KEY, PROOF)).grant == changed


async def test_forgetting_gives_no_new_tokens(rig: Rig):
    for _ in range(5):
        await remember(rig.cache)
    await rig.cache.forget(new_grant().tenant)
    assert (await standing(remember(rig.cache))).exceeded


async def test_the_cache_answers_a_ping(rig: Rig):
    await rig.cache.ping()


# ── The memory alone ─────────────────────────────────────────────────────────────────────────────


async def test_it_holds_no_more_than_its_capacity(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory_access_cache, "CAPACITY", 3)
    cache = MemoryAccessCache(FakeClock())
    grants = [new_grant(f"pk_live_{index}", partner_id=uuid4()) for index in range(5)]
    for grant in grants:
        await remember(cache, grant, proof=grant.key_id)
    known = [(await cache.look(grant.key_id, grant.key_id)).grant is not None for grant in grants]
    assert known == [False, False, True, True, True]


async def test_it_can_play_a_cache_that_is_down():
    cache = MemoryAccessCache(FakeClock())
    await remember(cache)
    cache.down = True
    assert await cache.look(KEY, PROOF) == Look(degraded=True)
    assert (await standing(remember(cache))).remaining == 3
    with pytest.raises(errors.Unavailable):
        await cache.ping()
