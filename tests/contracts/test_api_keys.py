"""ports.ApiKeys."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared_code import errors
from shared_code.model import Page
from shared_code.ports import Store
from tests.contracts.acting import at_once, by_cursor, by_offset, stored_partner, within
from tests.contracts.samples import NOW, SECOND, new_key


async def test_a_key_is_found_as_it_was_added(store: Store):
    partner = await stored_partner(store)
    keys = [
        new_key(partner.partner_id),
        new_key(None, rate_limit_per_minute=None, expires_at=None, created_by=None, scopes=("admin",)),
        new_key(partner.partner_id, scopes=(), last_used_at=NOW, revoked_at=NOW),
    ]
    async with store.transaction() as transaction:
        for key in keys:
            await transaction.keys.add(key)
    async with store.reading() as reading:
        for key in keys:
            assert await reading.keys.get(key.key_id) == key
        assert await reading.keys.get("pk_live_unknown") is None


async def test_a_key_id_is_used_once(store: Store):
    key = new_key(None)
    await within(store, lambda transaction: transaction.keys.add(key))
    with pytest.raises(errors.Conflict):
        await within(store, lambda transaction: transaction.keys.add(new_key(None, key_id=key.key_id)))


async def test_saving_changes_the_rights_and_the_life_of_a_key_and_nothing_else(store: Store):
    key = new_key(None)
    await within(store, lambda transaction: transaction.keys.add(key))
    changes = {
        "name": "renamed",
        "scopes": ("read:orders",),
        "rate_limit_per_minute": None,
        "expires_at": None,
        "revoked_at": NOW + SECOND,
    }
    other = replace(key, **changes, key_hash="another", last_used_at=NOW, created_at=NOW - SECOND, created_by="x")
    await within(store, lambda transaction: transaction.keys.save(other))
    async with store.reading() as reading:
        assert await reading.keys.get(key.key_id) == replace(key, **changes)


async def test_a_key_can_be_locked_for_a_change(store: Store):
    key = new_key(None, rate_limit_per_minute=1)
    await within(store, lambda transaction: transaction.keys.add(key))

    async def raise_limit(transaction) -> None:
        known = await transaction.keys.get(key.key_id, lock=True)
        await transaction.keys.save(replace(known, rate_limit_per_minute=known.rate_limit_per_minute + 1))

    await at_once(store, 10, raise_limit)
    async with store.reading() as reading:
        assert await reading.keys.get(key.key_id) == replace(key, rate_limit_per_minute=11)


async def test_the_time_of_last_use_is_written_for_many_keys_once_a_minute_and_never_moves_back(store: Store):
    minute = timedelta(minutes=1)
    keys = [new_key(None, last_used_at=used_at) for used_at in (None, NOW, NOW, NOW)]
    async with store.transaction() as transaction:
        for key in keys:
            await transaction.keys.add(key)
    used = (NOW, NOW + minute, NOW + minute - SECOND, NOW - minute)
    times = {key.key_id: at for key, at in zip(keys, used, strict=True)} | {"pk_live_gone": NOW}
    await within(store, lambda transaction: transaction.keys.used(times))
    await within(store, lambda transaction: transaction.keys.used({}))
    async with store.reading() as reading:
        found = [await reading.keys.get(key.key_id) for key in keys]
    assert [key.last_used_at for key in found if key] == [NOW, NOW + minute, NOW, NOW]


async def test_keys_are_listed_for_a_partner_for_the_house_or_for_everyone(store: Store):
    first, second = await stored_partner(store), await stored_partner(store)
    keys = [
        new_key(owner.partner_id if owner else None, created_at=NOW + index * SECOND)
        for index, owner in enumerate((first, second, None, first))
    ]
    async with store.transaction() as transaction:
        for key in keys:
            await transaction.keys.add(key)
    async with store.reading() as reading:
        own = await reading.keys.list(Page(), partner_id=first.partner_id)
        everyone = await reading.keys.list(Page(), partner_id=None)
        house = await reading.keys.list(Page(), partner_id=None, house=True)
    assert (own.items, own.total) == ([keys[3], keys[0]], 2)
    assert (everyone.items, everyone.total) == ([*reversed(keys)], 4)
    assert (house.items, house.total) == ([keys[2]], 1)


async def test_every_key_is_on_exactly_one_page_while_others_arrive(store: Store):
    keys = [new_key(None, created_at=NOW + (index // 4) * SECOND) for index in range(9)]
    async with store.transaction() as transaction:
        for key in keys:
            await transaction.keys.add(key)

    async def another() -> None:
        newer = new_key(None, created_at=NOW + timedelta(hours=1))
        await within(store, lambda transaction: transaction.keys.add(newer))

    async with store.reading() as reading:
        offset = await by_offset(lambda page: reading.keys.list(page, partner_id=None), 2)
        cursor = await by_cursor(lambda page: reading.keys.list(page, partner_id=None), 2, another)
    assert cursor == offset == [*reversed(keys)]


async def test_revoking_all_ends_the_partners_living_keys(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    living = [new_key(partner.partner_id) for _ in range(2)]
    dead = new_key(partner.partner_id, revoked_at=NOW)
    spared = [new_key(other.partner_id), new_key(None)]
    async with store.transaction() as transaction:
        for key in (*living, dead, *spared):
            await transaction.keys.add(key)
    later = NOW + SECOND
    assert await within(store, lambda transaction: transaction.keys.revoke_all(partner.partner_id, later)) == 2
    assert await within(store, lambda transaction: transaction.keys.revoke_all(partner.partner_id, later)) == 0
    async with store.reading() as reading:
        for key in living:
            assert await reading.keys.get(key.key_id) == replace(key, revoked_at=later)
        for key in (dead, *spared):
            assert await reading.keys.get(key.key_id) == key
