"""ports.Publications: many partners' events in one step, each with its deliveries and its debt."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from shared_code.model import DeliveryStatus, Event, OutboxItem, OutboxKind, Page, PartnerStatus
from shared_code.ports import DeliveryFilter, Store
from tests.contracts.acting import apart, due, stored_partner, undone, within
from tests.contracts.samples import MINUTE, NOW, SECOND, new_endpoint, new_event


async def published(store: Store, *events: Event):
    async with store.single() as opened:
        return await opened.publications.add(events, 8)


async def owed(store: Store) -> list[OutboxItem]:
    return list(await within(store, lambda transaction: transaction.outbox.claim(NOW, MINUTE, 100)))


async def test_events_of_many_partners_are_stored_with_their_deliveries_and_their_debt(store: Store):
    first, second = await stored_partner(store), await stored_partner(store, status=PartnerStatus.PENDING)
    endpoints = [
        *(new_endpoint(each.partner_id) for each in (first, first, second)),
        new_endpoint(second.partner_id, enabled=False),
        new_endpoint(second.partner_id, events=("inventory.updated",)),
    ]
    async with store.transaction() as transaction:
        for endpoint in endpoints:
            await transaction.endpoints.add(endpoint)
    events = [new_event(first.partner_id), new_event(first.partner_id), new_event(second.partner_id)]
    assert await published(store, *events) == {}
    assert await published(store, *events) == {}
    async with store.reading() as reading:
        for event in events:
            assert await reading.events.get(event.partner_id, event.event_id) == event
        found = (await reading.deliveries.list(DeliveryFilter(), Page())).items
    opened = sorted((each.event_id, each.endpoint_id, each.status) for each in found)
    assert opened == sorted(
        (event.event_id, endpoint.endpoint_id, DeliveryStatus.PENDING if endpoint.enabled else DeliveryStatus.SKIPPED)
        for event in events
        for endpoint in endpoints[:4]
        if endpoint.partner_id == event.partner_id
    )
    debts = await owed(store)
    assert {(each.kind, each.partner_id, each.subject) for each in debts} == {
        (OutboxKind.SEND_EVENT, event.partner_id, event.event_id) for event in events
    }
    assert len(debts) == 3


async def test_the_same_event_twice_in_one_step_is_one(store: Store):
    partner = await stored_partner(store)
    event = new_event(partner.partner_id, payload={"n": 1})
    await published(store, event, replace(event, payload={"n": 2}), event)
    assert len(await owed(store)) == 1


@pytest.mark.parametrize("status", [PartnerStatus.SUSPENDED, PartnerStatus.INACTIVE])
async def test_a_partner_that_gets_no_events_is_told_of_and_the_others_events_are_stored(
    store: Store, status: PartnerStatus
):
    off, gone = await stored_partner(store, status=status), await stored_partner(store, deleted_at=NOW)
    well, stranger = await stored_partner(store), uuid4()
    ids = [each.partner_id for each in (off, gone, well)] + [stranger]
    refused = await published(store, *(new_event(partner_id) for partner_id in ids))
    assert refused == {off.partner_id: status, gone.partner_id: None, stranger: None}
    assert [each.partner_id for each in await owed(store)] == [well.partner_id]
    assert await published(store) == {}


async def test_it_stands_and_falls_with_the_transaction_it_is_called_in(store: Store):
    partner = await stored_partner(store)
    event = new_event(partner.partner_id)
    assert not store.inside()
    async with undone(store):
        assert store.inside()
        await published(store, event)
    async with store.reading() as reading:
        assert await reading.events.get(partner.partner_id, event.event_id) is None
    assert await owed(store) == []


async def test_twins_of_many_events_in_any_order_wait_for_each_other_and_are_stored_once(store: Store):
    partner = await stored_partner(store)
    events = [new_event(partner.partner_id) for _ in range(20)]
    await asyncio.gather(*(apart(published(store, *(events if turn % 2 else reversed(events)))) for turn in range(8)))
    assert sorted(each.subject for each in await owed(store)) == sorted(event.event_id for event in events)


async def test_outcomes_are_asked_for_once_the_event_is_sent_and_never_earlier(store: Store):
    partner = await stored_partner(store)
    await within(store, lambda transaction: transaction.endpoints.add(new_endpoint(partner.partner_id)))
    event, other = new_event(partner.partner_id), new_event(partner.partner_id)
    await published(store, event, other)
    assert await due(store, NOW + 60 * MINUTE) == []
    key = (partner.partner_id, event.event_id)
    await within(store, lambda transaction: transaction.deliveries.sent([key], NOW + SECOND))
    assert await due(store, NOW) == []
    assert [each.event_id for each in await due(store, NOW + SECOND)] == [event.event_id]


async def test_what_cannot_be_sent_is_left_out_of_what_is_to_send(store: Store):
    partner, gone = await stored_partner(store), await stored_partner(store)
    event, cleared = new_event(partner.partner_id), new_event(partner.partner_id, created_at=NOW - 9 * MINUTE)
    lost = new_event(gone.partner_id)
    await published(store, event, cleared, lost)
    async with store.transaction() as transaction:
        await transaction.partners.save(replace(gone, deleted_at=NOW))
        assert await transaction.events.clear(NOW - MINUTE, 10) == 1
    keys = [(each.partner_id, each.event_id) for each in (event, cleared, lost)]
    async with store.reading() as reading:
        assert await reading.events.to_send([*keys, (partner.partner_id, "evt_unknown")]) == {keys[0]: event}
