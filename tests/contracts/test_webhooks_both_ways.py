"""What broadcasts, retries, retention and operational webhooks want of the store: many rows in one step, once each."""

from dataclasses import replace
from uuid import uuid4

import pytest

from shared_code import errors
from shared_code.model import Delivery, DeliveryStatus, Event, OutboxKind, Page, Partner
from shared_code.ports import DeliveryFilter, Store, Transaction
from tests.contracts.acting import at_once, due, known, learn, one_delivery, opened_deliveries, stored_partner, within
from tests.contracts.samples import MINUTE, NOW, SECOND, new_attempt, new_endpoint, new_event

LEASE = MINUTE
FINAL = [DeliveryStatus.FAILED, DeliveryStatus.SKIPPED]
OPEN, SEND = OutboxKind.OPEN_ENDPOINT, OutboxKind.SEND_EVENT
RESEND, CLOSE = OutboxKind.RESEND_DELIVERY, OutboxKind.CLOSE_PARTNER


async def partners(store: Store, many: int) -> list[Partner]:
    return [await stored_partner(store) for _ in range(many)]


async def claimed(store: Store, now=NOW) -> list[int]:
    return [item.id for item in await within(store, lambda transaction: transaction.outbox.claim(now, LEASE, 100))]


# ── Events for many ──────────────────────────────────────────────────────────────────────────────


async def test_an_event_for_many_is_added_for_those_who_lack_it(store: Store):
    first, second, third = [each.partner_id for each in await partners(store, 3)]
    event = new_event(first)
    known = replace(event, partner_id=second, payload={"n": "first"})
    async with store.transaction() as transaction:
        assert await transaction.events.add(known)
        assert set(await transaction.events.add_all(event, [first, second, third])) == {first, third}
        assert await transaction.events.add_all(event, [first, second, third]) == []
        assert await transaction.events.add_all(event, []) == []
    async with store.reading() as reading:
        assert await reading.events.get(first, event.event_id) == event
        assert await reading.events.get(second, event.event_id) == known
        assert await reading.events.get(third, event.event_id) == replace(event, partner_id=third)


async def test_of_twins_at_once_each_partner_gets_the_event_from_one(store: Store):
    ids = [each.partner_id for each in await partners(store, 5)]
    event = new_event(ids[0])
    shares = await at_once(store, 8, lambda transaction: transaction.events.add_all(event, ids))
    assert sorted(partner for share in shares for partner in share) == sorted(ids)


async def test_an_event_for_many_and_for_nobody_is_for_no_one(store: Store):
    (partner,) = await partners(store, 1)
    event = new_event(partner.partner_id)
    with pytest.raises(errors.NotFound):
        await within(store, lambda transaction: transaction.events.add_all(event, [partner.partner_id, uuid4()]))
    async with store.reading() as reading:
        assert await reading.events.get(partner.partner_id, event.event_id) is None


async def test_deliveries_are_opened_for_each_endpoint_of_the_many_that_wants_the_event(store: Store):
    wants, twice, off, not_at_all, left_out = [each.partner_id for each in await partners(store, 5)]
    event, named = new_event(wants), [wants, twice, off, not_at_all]
    endpoints = [
        *(new_endpoint(partner_id) for partner_id in (wants, twice, twice, left_out)),
        new_endpoint(off, enabled=False),
        new_endpoint(not_at_all, events=("inventory.updated",)),
        new_endpoint(not_at_all, deleted_at=NOW),
    ]
    async with store.transaction() as transaction:
        for endpoint in endpoints:
            await transaction.endpoints.add(endpoint)
        await transaction.events.add_all(event, [*named, left_out])
        assert await transaction.deliveries.open_all(event, named, 8) == 4
        assert await transaction.deliveries.open_all(event, [], 8) == 0
        await transaction.deliveries.sent([(each, event.event_id) for each in named], NOW)
        found = (await transaction.deliveries.list(DeliveryFilter(event_id=event.event_id), Page())).items
    opened = {(each.partner_id, each.endpoint_id): each.status for each in found}
    expected = {(each.partner_id, each.endpoint_id): DeliveryStatus.PENDING for each in endpoints[:3]}
    assert opened == expected | {(off, endpoints[4].endpoint_id): DeliveryStatus.SKIPPED}
    assert {each.endpoint_id for each in await due(store)} == {each.endpoint_id for each in endpoints[:3]}
    assert {each.max_attempts for each in found} == {8}


# ── The outbox ───────────────────────────────────────────────────────────────────────────────────


async def test_a_debt_to_many_is_one_item_for_each(store: Store):
    ids = [each.partner_id for each in await partners(store, 3)]
    async with store.transaction() as transaction:
        await transaction.outbox.add_all(SEND, ids, "evt_1", NOW)
        await transaction.outbox.add_all(SEND, [], "evt_2", NOW)
    items = await within(store, lambda transaction: transaction.outbox.claim(NOW, LEASE, 100))
    assert sorted((item.partner_id, item.subject, item.kind, item.attempts) for item in items) == sorted(
        (partner_id, "evt_1", SEND, 1) for partner_id in ids
    )


async def test_a_debt_to_many_and_to_nobody_is_refused(store: Store):
    (partner,) = await partners(store, 1)
    with pytest.raises(errors.NotFound):
        await within(store, lambda other: other.outbox.add_all(SEND, [partner.partner_id, uuid4()], "evt_1", NOW))
    assert await claimed(store) == []


async def test_a_buried_item_that_is_revived_is_owed_as_if_it_were_new(store: Store):
    (partner,) = await partners(store, 1)
    async with store.transaction() as transaction:
        buried, done = [await transaction.outbox.add(SEND, partner.partner_id, name, NOW) for name in "ab"]
    await claimed(store)
    async with store.transaction() as transaction:
        await transaction.outbox.bury(buried, NOW, "refused")
        await transaction.outbox.done([done], NOW)
        for item in (buried, done):
            await transaction.outbox.revive(item, NOW + SECOND)
    assert await claimed(store) == []
    (again,) = await within(store, lambda transaction: transaction.outbox.claim(NOW + SECOND, LEASE, 100))
    assert (again.id, again.attempts) == (buried, 1)


async def test_reviving_what_is_owed_does_not_end_its_lease(store: Store):
    (partner,) = await partners(store, 1)
    item = await within(store, lambda transaction: transaction.outbox.add(SEND, partner.partner_id, "a", NOW))
    assert await claimed(store) == [item]
    await within(store, lambda transaction: transaction.outbox.revive(item, NOW))
    assert await claimed(store) == []


@pytest.mark.parametrize("setup", [OPEN, OutboxKind.PUT_ENDPOINT, OutboxKind.CLOSE_ENDPOINT])
async def test_the_end_of_a_partner_waits_for_its_setup_and_for_no_event(store: Store, setup: OutboxKind):
    partner, other = [each.partner_id for each in await partners(store, 2)]
    async with store.transaction() as transaction:
        debts = [(setup, partner), (SEND, other), (RESEND, other), (CLOSE, partner), (CLOSE, other), (setup, other)]
        items = [await transaction.outbox.add(kind, owner, str(n), NOW) for n, (kind, owner) in enumerate(debts)]
    first, event, again, waiting, free, later = items
    assert await claimed(store) == [first, event, again, free, later]
    await within(store, lambda transaction: transaction.outbox.postpone(first, NOW + 2 * LEASE, "down"))
    assert waiting not in await claimed(store, NOW + LEASE)
    await within(store, lambda transaction: transaction.outbox.done([first], NOW))
    assert waiting in await claimed(store, NOW + LEASE)


async def test_a_change_of_an_endpoint_waits_while_the_one_before_it_is_being_made(store: Store):
    (partner,) = await partners(store, 1)
    async with store.transaction() as transaction:
        kinds = (OPEN, OutboxKind.PUT_ENDPOINT, OutboxKind.CLOSE_ENDPOINT)
        opened, put, closed = [await transaction.outbox.add(kind, partner.partner_id, "ep_1", NOW) for kind in kinds]
    assert await claimed(store) == [opened]
    assert await claimed(store, NOW + LEASE - SECOND) == []
    await within(store, lambda transaction: transaction.outbox.bury(opened, NOW, "refused"))
    assert await claimed(store, NOW + LEASE - SECOND) == [put]
    await within(store, lambda transaction: transaction.outbox.done([put], NOW))
    assert await claimed(store, NOW + LEASE - SECOND) == [closed]


# ── Sent again ───────────────────────────────────────────────────────────────────────────────────


async def in_state(store: Store, status: DeliveryStatus) -> Delivery:
    """A delivery with this status that nobody asks for any more."""
    delivery = await one_delivery(store)
    return await learn(store, replace(delivery, status=status, attempt_count=2, response_code=500), [])


@pytest.mark.parametrize("status", FINAL)
async def test_what_is_sent_again_is_retrying_and_asked_for(store: Store, status: DeliveryStatus):
    delivery = await in_state(store, status)
    assert await due(store) == []
    await within(store, lambda transaction: transaction.deliveries.again(delivery.id, NOW))
    expected = replace(delivery, status=DeliveryStatus.RETRYING, next_retry_at=NOW)
    assert await known(store, delivery) == expected
    assert await due(store) == [expected]


@pytest.mark.parametrize("status", [status for status in DeliveryStatus if status not in FINAL])
async def test_what_is_not_over_or_went_well_only_is_asked_for(store: Store, status: DeliveryStatus):
    delivery = await in_state(store, status)
    await within(store, lambda transaction: transaction.deliveries.again(delivery.id, NOW))
    assert await known(store, delivery) == delivery
    assert await due(store, NOW - SECOND) == []
    assert await due(store) == [delivery]


async def test_sending_what_is_not_there_again_does_nothing(store: Store):
    await within(store, lambda transaction: transaction.deliveries.again(uuid4(), NOW))
    assert await due(store) == []


@pytest.mark.parametrize("status", DeliveryStatus)
async def test_a_hint_makes_all_but_the_delivered_due(store: Store, status: DeliveryStatus):
    delivery = await in_state(store, status)
    await within(store, lambda transaction: transaction.deliveries.check(delivery.partner_id, delivery.event_id, NOW))
    assert await known(store, delivery) == delivery
    assert await due(store) == ([] if status is DeliveryStatus.DELIVERED else [delivery])


async def test_a_hint_for_another_event_or_partner_changes_nothing(store: Store):
    delivery = await in_state(store, DeliveryStatus.FAILED)
    async with store.transaction() as transaction:
        await transaction.deliveries.check(delivery.partner_id, "evt_other", NOW)
        await transaction.deliveries.check(uuid4(), delivery.event_id, NOW)
    assert await due(store) == []


async def test_failed_and_skipped_ones_are_found_within_the_period_up_to_the_limit(store: Store):
    partner = await stored_partner(store)
    endpoint, other = new_endpoint(partner.partner_id), new_endpoint(partner.partner_id)
    events = [new_event(partner.partner_id, created_at=NOW + n * SECOND) for n in range(6)]
    states = [*FINAL, DeliveryStatus.DELIVERED, DeliveryStatus.RETRYING, *FINAL]
    found: list[Delivery] = []
    for event, status in zip(events, states, strict=True):
        for delivery in await opened_deliveries(store, [endpoint, other], event):
            await learn(store, replace(delivery, status=status), [])
            found += [delivery] if delivery.endpoint_id == endpoint.endpoint_id else []
    ids = [delivery.id for delivery in found]

    async def failed(first: int, last: int, limit: int = 10) -> list:
        since, until = NOW + first * SECOND, NOW + last * SECOND
        async with store.reading() as reading:
            return [*await reading.deliveries.failed(endpoint.endpoint_id, since, until, limit)]

    assert await failed(0, 6) == [ids[0], ids[1], ids[4], ids[5]]
    assert await failed(0, 6, limit=3) == [ids[0], ids[1], ids[4]]
    assert await failed(1, 4) == [ids[1]]
    assert await failed(2, 4) == []


async def test_of_many_who_would_send_it_again_one_does(store: Store):
    delivery = await in_state(store, DeliveryStatus.FAILED)
    wanted = DeliveryFilter(partner_id=delivery.partner_id)

    async def recover(transaction: Transaction) -> int:
        found = await transaction.deliveries.failed(delivery.endpoint_id, NOW - MINUTE, NOW + MINUTE, 9, lock=True)
        await transaction.deliveries.again_all(found, NOW)
        return len(found)

    async def retry_many(transaction: Transaction) -> int:
        found = await transaction.deliveries.to_retry(wanted, 9)
        await transaction.deliveries.again_all([each.id for each in found], NOW)
        return len(found)

    for again in (recover, retry_many):
        await learn(store, delivery, [])
        assert sum(await at_once(store, 10, again)) == 1


# ── Payloads and answers leave in time ───────────────────────────────────────────────────────────


async def test_the_oldest_payloads_are_cleared_in_batches_and_their_rows_stay(store: Store):
    partner = await stored_partner(store)
    events = [new_event(partner.partner_id, created_at=NOW + n * SECOND) for n in (2, 0, 1, 3)]
    async with store.transaction() as transaction:
        for event in events:
            await transaction.events.add(event)

    async def clear(limit: int) -> int:
        return await within(store, lambda transaction: transaction.events.clear(NOW + 3 * SECOND, limit))

    async def left() -> list[Event | None]:
        async with store.reading() as reading:
            return [await reading.events.get(partner.partner_id, event.event_id) for event in events]

    late, oldest, old, young = events
    assert await clear(2) == 2
    assert await left() == [late, replace(oldest, payload=None), replace(old, payload=None), young]
    assert [await clear(2), await clear(2)] == [1, 0]
    assert await left() == [*(replace(event, payload=None) for event in events[:3]), young]


async def test_the_oldest_answers_are_cleared_in_batches_and_the_attempts_stay(store: Store):
    delivery = await one_delivery(store)
    attempts = [new_attempt(delivery.endpoint_id, NOW + n * SECOND, attempt_id=f"a{n}") for n in range(4)]
    attempts[0] = replace(attempts[0], response_body="")
    await learn(store, delivery, attempts)

    async def clear(limit: int) -> int:
        return await within(store, lambda transaction: transaction.deliveries.clear_answers(NOW + 3 * SECOND, limit))

    async def left() -> list[str]:
        async with store.reading() as reading:
            found = await reading.deliveries.attempts(delivery.id)
        emptied = [replace(each, response_body="") for each in attempts]
        assert [replace(each, response_body="") for each in found] == emptied
        return [each.response_body for each in found]

    answer = attempts[1].response_body
    assert await clear(1) == 1
    assert await left() == ["", "", answer, answer]
    assert [await clear(5), await clear(5)] == [1, 0]
    assert await left() == ["", "", "", answer]


# ── Endpoints by either name ─────────────────────────────────────────────────────────────────────


async def test_an_endpoint_is_found_by_either_of_its_ids_and_only_for_its_partner(store: Store):
    mine, other = [each.partner_id for each in await partners(store, 2)]
    registered = new_endpoint(mine, svix_endpoint_id=f"ep_{uuid4().hex}")
    pending, foreign = new_endpoint(mine), new_endpoint(other, svix_endpoint_id=f"ep_{uuid4().hex}")
    async with store.transaction() as transaction:
        for endpoint in (registered, pending, foreign):
            await transaction.endpoints.add(endpoint)

    async def find(endpoint_id: str, svix_endpoint_id: str) -> str | None:
        async with store.reading() as reading:
            return await reading.endpoints.find(mine, endpoint_id, svix_endpoint_id)

    assert await find(registered.endpoint_id, "") == registered.endpoint_id
    assert await find("", registered.svix_endpoint_id or "") == registered.endpoint_id
    assert await find(pending.endpoint_id, "ep_unknown") == pending.endpoint_id
    assert await find("", "") is None
    assert await find("ep_unknown", "ep_unknown") is None
    assert await find(foreign.endpoint_id, foreign.svix_endpoint_id or "") is None
