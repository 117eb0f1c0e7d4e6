"""ports.Store: all or nothing, joined when nested, apart from everyone else until the commit."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from shared_code import errors
from shared_code.model import OutboxKind
from shared_code.ports import Store, Transaction
from tests.contracts.acting import apart, at_once, stored_partner, undone, within
from tests.contracts.samples import NOW, new_event, new_key, new_partner


async def test_what_a_transaction_wrote_is_there_afterwards(store: Store):
    partner, key = new_partner(), new_key(None)
    async with store.transaction() as transaction:
        await transaction.partners.add(partner)
        await transaction.keys.add(key)
    async with store.reading() as reading:
        assert await reading.partners.get(partner.partner_id) == partner
        assert await reading.keys.get(key.key_id) == key


async def test_nothing_is_left_of_a_transaction_that_fails(store: Store):
    known, partner, key = await stored_partner(store), new_partner(), new_key(None)
    async with undone(store) as transaction:
        await transaction.partners.add(partner)
        await transaction.partners.save(replace(known, name="Another Name"))
        await transaction.keys.add(key)
        await transaction.outbox.add(OutboxKind.SEND_EVENT, known.partner_id, "evt_1", NOW)
    async with store.reading() as reading:
        assert await reading.partners.get(partner.partner_id) is None
        assert await reading.partners.get(known.partner_id) == known
        assert await reading.keys.get(key.key_id) is None
        assert await reading.outbox.backlog() == {"owed": 0, "buried": 0}


async def test_a_cancelled_transaction_leaves_nothing(store: Store):
    partner, written = new_partner(), asyncio.Event()

    async def write_and_wait() -> None:
        async with store.transaction() as transaction:
            await transaction.partners.add(partner)
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await written.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    async with store.reading() as reading:
        assert await reading.partners.get(partner.partner_id) is None


async def test_a_transaction_inside_another_commits_with_it(store: Store):
    outer, inner = new_partner(), new_partner()
    async with undone(store) as transaction:
        await transaction.partners.add(outer)
        async with store.transaction() as joined:
            await joined.partners.add(inner)
            assert await joined.partners.get(outer.partner_id) == outer
    async with store.reading() as reading:
        assert await reading.partners.get(outer.partner_id) is None
        assert await reading.partners.get(inner.partner_id) is None


async def test_tasks_started_inside_a_transaction_join_it(store: Store):
    partners = [new_partner() for _ in range(5)]

    async def add(index: int) -> None:
        async with store.transaction() as joined:
            await joined.partners.add(partners[index])

    async with undone(store) as transaction:
        await asyncio.gather(*(add(index) for index in range(5)))
        assert len(await transaction.partners.active()) == 5
    async with store.reading() as reading:
        assert await reading.partners.active() == []


async def test_a_task_that_outlives_the_transaction_gets_one_of_its_own(store: Store):
    partner, ended = new_partner(), asyncio.Event()

    async def later() -> None:
        await ended.wait()
        async with store.transaction() as transaction:
            await transaction.partners.add(partner)
            assert await apart(seen()) is None
        assert await apart(seen()) == partner

    async def seen() -> object:
        async with store.reading() as reading:
            return await reading.partners.get(partner.partner_id)

    async with store.transaction():
        task = asyncio.create_task(later())
    ended.set()
    await task


async def test_what_is_not_committed_is_seen_inside_and_nowhere_else(store: Store):
    partner = new_partner()

    async def seen() -> object:
        async with store.reading() as reading:
            return await reading.partners.get(partner.partner_id)

    async with store.transaction() as transaction:
        await transaction.partners.add(partner)
        assert await seen() == partner
        assert await apart(seen()) is None
    assert await seen() == partner


async def test_a_locked_row_is_changed_by_one_at_a_time(store: Store):
    partner = await stored_partner(store, rate_limit_per_minute=1)

    async def raise_limit(transaction: Transaction) -> None:
        known = await transaction.partners.get(partner.partner_id, lock=True)
        assert known
        await asyncio.sleep(0)
        await transaction.partners.save(replace(known, rate_limit_per_minute=known.rate_limit_per_minute + 1))

    await at_once(store, 20, raise_limit)
    async with store.reading() as reading:
        known = await reading.partners.get(partner.partner_id)
    assert known
    assert known.rate_limit_per_minute == 21


async def test_whoever_waits_too_long_for_a_lock_is_told_to_come_back(store: Store):
    partner = await stored_partner(store)
    async with store.transaction() as transaction:
        await transaction.partners.get(partner.partner_id, lock=True)
        with pytest.raises(errors.StoreUnavailable) as refusal:
            await apart(within(store, lambda other: other.partners.save(partner)))
    assert refusal.value.headers["Retry-After"] == "1"


async def test_a_locked_partner_can_still_be_given_events_and_keys(store: Store):
    partner = await stored_partner(store)
    async with store.transaction() as transaction:
        await transaction.partners.get(partner.partner_id, lock=True)
        assert await apart(within(store, lambda other: other.events.add(new_event(partner.partner_id))))
        await apart(within(store, lambda other: other.keys.add(new_key(partner.partner_id))))


# ── After the commit ─────────────────────────────────────────────────────────────────────────────


async def test_actions_run_once_in_order_after_the_outermost_commit(store: Store):
    partner, seen = new_partner(), []

    async def look() -> None:
        async with store.reading() as reading:
            seen.append(await reading.partners.get(partner.partner_id))

    async with store.transaction() as transaction:
        transaction.after_commit(look)
        async with store.transaction() as joined:
            await joined.partners.add(partner)
            joined.after_commit(look)
        assert seen == []
    assert seen == [partner, partner]


async def test_an_action_may_open_a_transaction_of_its_own(store: Store):
    partner = new_partner()

    async def add() -> None:
        async with store.transaction() as transaction:
            await transaction.partners.add(partner)

    async with store.transaction() as transaction:
        transaction.after_commit(add)
    async with store.reading() as reading:
        assert await reading.partners.get(partner.partner_id) == partner


async def test_actions_do_not_run_after_a_rollback(store: Store):
    ran = []

    async def act() -> None:
        ran.append(True)

    async with undone(store) as transaction:
        transaction.after_commit(act)
    assert ran == []


async def test_a_read_has_no_commit_to_wait_for(store: Store):
    async def act() -> None: ...

    async with store.reading() as reading:
        with pytest.raises(RuntimeError):
            reading.after_commit(act)
