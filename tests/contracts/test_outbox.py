"""ports.Outbox: each debt is claimed by one worker at a time, setup before events, until it is done."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from shared_code.model import OutboxItem, OutboxKind
from shared_code.ports import Store
from tests.contracts.acting import apart, at_once, stored_partner, undone, within
from tests.contracts.samples import NOW, SECOND

LEASE = timedelta(seconds=30)
SEND, OPEN, CLOSE = OutboxKind.SEND_EVENT, OutboxKind.OPEN_ENDPOINT, OutboxKind.CLOSE_PARTNER
PUT = OutboxKind.PUT_EVENT_TYPE


async def owe(store: Store, *debts: tuple[OutboxKind, UUID | None], now=NOW) -> list[int]:
    async with store.transaction() as transaction:
        return [
            await transaction.outbox.add(kind, partner_id, f"subject {index}", now)
            for index, (kind, partner_id) in enumerate(debts)
        ]


async def claim(store: Store, now=NOW, limit: int = 100, only: Sequence[int] | None = None) -> Sequence[OutboxItem]:
    return await within(store, lambda transaction: transaction.outbox.claim(now, LEASE, limit, only))


async def claimed(store: Store, now=NOW, limit: int = 100, only: Sequence[int] | None = None) -> list[int]:
    return [item.id for item in await claim(store, now, limit, only)]


async def finish(store: Store, *items: int) -> None:
    await within(store, lambda transaction: transaction.outbox.done(items, NOW))


async def backlog(store: Store) -> tuple[int, int]:
    async with store.reading() as reading:
        counts = await reading.outbox.backlog()
    assert set(counts) == {"owed", "buried"}
    return counts["owed"], counts["buried"]


async def test_a_claimed_item_says_all_that_is_known_of_it(store: Store):
    partner = await stored_partner(store)
    first, second = await owe(store, (OPEN, partner.partner_id), (PUT, None))
    assert await claim(store) == [
        OutboxItem(id=first, kind=OPEN, partner_id=partner.partner_id, subject="subject 0", attempts=1, created_at=NOW),
        OutboxItem(id=second, kind=PUT, partner_id=None, subject="subject 1", attempts=1, created_at=NOW),
    ]


async def test_a_claimed_item_is_nobody_elses_until_the_lease_ends(store: Store):
    (item,) = await owe(store, (PUT, None))
    assert await claimed(store) == [item]
    assert await claimed(store) == []
    assert await claimed(store, NOW + LEASE - SECOND) == []
    (again,) = await claim(store, NOW + LEASE)
    assert (again.id, again.attempts) == (item, 2)


async def test_an_item_is_free_again_when_its_claim_is_rolled_back(store: Store):
    (item,) = await owe(store, (PUT, None))
    async with undone(store) as transaction:
        assert await transaction.outbox.claim(NOW, LEASE, 10)
    (again,) = await claim(store)
    assert (again.id, again.attempts) == (item, 1)


async def test_what_another_transaction_is_claiming_is_skipped_not_waited_for(store: Store):
    first, second = await owe(store, (PUT, None), (PUT, None))
    async with store.transaction() as transaction:
        assert [item.id for item in await transaction.outbox.claim(NOW, LEASE, 1)] == [first]
        assert await apart(claimed(store)) == [second]


async def test_twenty_at_once_claim_each_item_once(store: Store):
    items = await owe(store, *[(PUT, None)] * 50)
    shares = await at_once(store, 20, lambda transaction: transaction.outbox.claim(NOW, LEASE, 4))
    taken = [item.id for share in shares for item in share]
    assert all(len(share) <= 4 for share in shares)
    assert len(taken) == len(set(taken))
    assert sorted(taken + await claimed(store)) == items


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_a_claim_takes_no_more_than_asked_and_the_oldest_first(store: Store, limit: int):
    newer = await owe(store, *[(PUT, None)] * 4, now=NOW + SECOND)
    older = await owe(store, *[(PUT, None)] * 4, now=NOW)
    expected = [*older, *newer][:limit]
    assert await claimed(store, NOW + SECOND, limit) == sorted(expected)


async def test_items_are_not_due_before_their_time(store: Store):
    (item,) = await owe(store, (PUT, None), now=NOW + SECOND)
    assert await claimed(store, NOW) == []
    assert await claimed(store, NOW + SECOND) == [item]


async def test_only_the_named_items_are_claimed(store: Store):
    items = await owe(store, *[(PUT, None)] * 3)
    assert await claimed(store, only=[items[1], 10**9]) == [items[1]]
    assert await claimed(store, only=[]) == []
    assert await claimed(store) == [items[0], items[2]]


@pytest.mark.parametrize("setup", [OPEN, CLOSE])
async def test_an_event_waits_for_its_partners_earlier_setup(store: Store, setup: OutboxKind):
    partner, other = await stored_partner(store), await stored_partner(store)
    first, event, foreign, later = await owe(
        store,
        (setup, partner.partner_id),
        (SEND, partner.partner_id),
        (SEND, other.partner_id),
        (setup, other.partner_id),
    )
    assert await claimed(store) == [first, foreign, later]
    assert await claimed(store) == []
    await finish(store, first)
    assert await claimed(store) == [event]


async def test_an_event_waits_even_when_asked_for_by_name_and_while_the_setup_is_postponed(store: Store):
    partner = await stored_partner(store)
    setup, event = await owe(store, (OPEN, partner.partner_id), (SEND, partner.partner_id))
    assert await claimed(store, only=[event]) == []
    await claimed(store, only=[setup])
    await within(store, lambda transaction: transaction.outbox.postpone(setup, NOW + 60 * SECOND, "down"))
    assert await claimed(store, NOW + 59 * SECOND) == []


async def test_a_buried_setup_holds_nothing_up(store: Store):
    partner = await stored_partner(store)
    setup, event = await owe(store, (OPEN, partner.partner_id), (SEND, partner.partner_id))
    await within(store, lambda transaction: transaction.outbox.bury(setup, NOW, "refused"))
    assert await claimed(store) == [event]


async def test_an_endpoint_waits_for_every_earlier_event_type(store: Store):
    partner = await stored_partner(store)
    kind, endpoint, later = await owe(store, (PUT, None), (OPEN, partner.partner_id), (PUT, None))
    assert await claimed(store) == [kind, later]
    await finish(store, kind)
    assert await claimed(store) == [endpoint]


@pytest.mark.parametrize("change", [OutboxKind.PUT_ENDPOINT, OutboxKind.CLOSE_ENDPOINT])
async def test_a_change_of_an_endpoint_waits_for_what_is_owed_of_it_before(store: Store, change: OutboxKind):
    partner = await stored_partner(store)
    async with store.transaction() as transaction:
        kinds = [("ep_1", OPEN), ("ep_1", change), ("ep_2", change), ("ep_1", change)]
        items = [await transaction.outbox.add(kind, partner.partner_id, name, NOW) for name, kind in kinds]
    assert await claimed(store) == [items[0], items[2]]
    await finish(store, items[0])
    assert await claimed(store) == [items[1]]
    await finish(store, items[1])
    assert await claimed(store) == [items[3]]


async def test_sending_again_waits_for_nothing_and_holds_nothing_up(store: Store):
    partner = await stored_partner(store)
    setup, again = await owe(store, (OPEN, partner.partner_id), (OutboxKind.RESEND_DELIVERY, partner.partner_id))
    assert await claimed(store) == [setup, again]
    await finish(store, setup)
    (event,) = await owe(store, (SEND, partner.partner_id))
    assert await claimed(store) == [event]


async def test_done_items_are_never_claimed_again(store: Store):
    items = await owe(store, *[(PUT, None)] * 3)
    await finish(store, *items[:2])
    await finish(store)
    assert await claimed(store, NOW + 10 * LEASE) == [items[2]]
    assert await backlog(store) == (1, 0)


async def test_a_postponed_item_comes_back_at_its_time(store: Store):
    (item,) = await owe(store, (PUT, None))
    await claimed(store)
    await within(store, lambda transaction: transaction.outbox.postpone(item, NOW + 5 * SECOND, "down"))
    assert await claimed(store, NOW + 4 * SECOND) == []
    (again,) = await claim(store, NOW + 5 * SECOND)
    assert (again.id, again.attempts) == (item, 2)


async def test_a_buried_item_is_set_aside_and_counted(store: Store):
    buried, _owed, done = await owe(store, *[(PUT, None)] * 3)
    await within(store, lambda transaction: transaction.outbox.bury(buried, NOW, "refused"))
    await finish(store, done)
    assert await backlog(store) == (1, 1)
    assert buried not in await claimed(store, NOW + 10 * LEASE)


async def test_what_is_done_stays_done_whatever_a_late_worker_says(store: Store):
    (item,) = await owe(store, (PUT, None))
    await finish(store, item)
    await within(store, lambda transaction: transaction.outbox.postpone(item, NOW, "late"))
    await within(store, lambda transaction: transaction.outbox.bury(item, NOW, "late"))
    assert await claimed(store, NOW + 10 * LEASE) == []
    assert await backlog(store) == (0, 0)


async def test_an_empty_outbox_has_no_backlog(store: Store):
    assert await backlog(store) == (0, 0)
    assert await claimed(store) == []
