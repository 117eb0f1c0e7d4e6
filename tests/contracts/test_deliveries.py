"""ports.Deliveries: opened with the event, asked for when due, and only ever moved forward."""

from dataclasses import replace
from uuid import uuid4

import pytest

from shared_code import errors
from shared_code.model import Delivery, DeliveryStatus, EndpointState, Page
from shared_code.ports import DeliveryFilter, Store
from tests.contracts.acting import (
    LEASE,
    at_once,
    by_cursor,
    by_offset,
    due,
    known,
    learn,
    one_delivery,
    opened_deliveries,
    stored_partner,
    within,
)
from tests.contracts.samples import MINUTE, NOW, SECOND, new_attempt, new_endpoint, new_event


async def test_a_delivery_is_opened_for_each_endpoint_that_wants_the_event(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    wanting = [
        new_endpoint(partner.partner_id),
        new_endpoint(partner.partner_id, events=("order.created",), state=EndpointState.REGISTERED),
    ]
    not_wanting = [
        new_endpoint(partner.partner_id, events=("inventory.updated",)),
        new_endpoint(partner.partner_id, deleted_at=NOW),
        new_endpoint(partner.partner_id, state=EndpointState.REFUSED),
        new_endpoint(other.partner_id),
    ]
    event = new_event(partner.partner_id, event_type="order.created")
    deliveries = await opened_deliveries(store, [*wanting, *not_wanting], event)
    assert {delivery.endpoint_id for delivery in deliveries} == {endpoint.endpoint_id for endpoint in wanting}
    for delivery in deliveries:
        assert delivery == Delivery(
            id=delivery.id,
            partner_id=partner.partner_id,
            event_id=event.event_id,
            event_type="order.created",
            endpoint_id=delivery.endpoint_id,
            status=DeliveryStatus.PENDING,
            max_attempts=8,
            created_at=event.created_at,
        )
        assert await known(store, delivery) == delivery


async def test_a_disabled_endpoints_delivery_is_skipped_and_not_asked_for(store: Store):
    partner = await stored_partner(store)
    endpoint = new_endpoint(partner.partner_id, enabled=False)
    (delivery,) = await opened_deliveries(store, [endpoint], new_event(partner.partner_id))
    assert delivery.status is DeliveryStatus.SKIPPED
    assert await due(store, NOW + 1000 * LEASE) == []


async def test_opening_says_how_many_there_are(store: Store):
    partner = await stored_partner(store)
    event = new_event(partner.partner_id)
    async with store.transaction() as transaction:
        await transaction.events.add(event)
        assert await transaction.deliveries.open(event, 8) == 0
        for _ in range(3):
            await transaction.endpoints.add(new_endpoint(partner.partner_id))
        assert await transaction.deliveries.open(event, 8) == 3
    with pytest.raises(errors.Conflict):
        await within(store, lambda transaction: transaction.deliveries.open(event, 8))


async def test_an_unknown_delivery_is_none_and_has_no_attempts(store: Store):
    async with store.reading() as reading:
        assert await reading.deliveries.get(uuid4()) is None
        assert await reading.deliveries.attempts(uuid4()) == []


# ── The list ─────────────────────────────────────────────────────────────────────────────────────


async def test_each_filter_finds_its_own(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    endpoints = [new_endpoint(partner.partner_id, events=("a", "b")), new_endpoint(other.partner_id, events=("a",))]
    (first,) = await opened_deliveries(store, endpoints, new_event(partner.partner_id, event_type="a"))
    event = new_event(partner.partner_id, event_type="b", created_at=NOW + SECOND)
    (second,) = await opened_deliveries(store, endpoints, event)
    foreign = new_event(other.partner_id, event_type="a", created_at=NOW + 2 * SECOND)
    (third,) = await opened_deliveries(store, endpoints, foreign)
    second = await learn(store, replace(second, status=DeliveryStatus.FAILED, attempt_count=8), [])
    expected = {
        DeliveryFilter(): [third, second, first],
        DeliveryFilter(partner_id=partner.partner_id): [second, first],
        DeliveryFilter(status=DeliveryStatus.FAILED): [second],
        DeliveryFilter(event_type="a"): [third, first],
        DeliveryFilter(endpoint_id=endpoints[0].endpoint_id): [second, first],
        DeliveryFilter(event_id=event.event_id): [second],
        DeliveryFilter(since=NOW + SECOND): [third, second],
        DeliveryFilter(until=NOW + SECOND): [first],
        DeliveryFilter(partner_id=other.partner_id, event_type="b"): [],
    }
    async with store.reading() as reading:
        for wanted, found in expected.items():
            listing = await reading.deliveries.list(wanted, Page())
            assert (listing.items, listing.total, listing.next) == (found, len(found), None)


@pytest.mark.parametrize("limit", [1, 4, 5])
async def test_every_delivery_is_on_exactly_one_page_while_others_arrive(store: Store, limit: int):
    partner = await stored_partner(store)
    endpoints = [new_endpoint(partner.partner_id) for _ in range(3)]
    opened = [
        await opened_deliveries(store, endpoints, new_event(partner.partner_id, created_at=NOW + index * SECOND))
        for index in range(3)
    ]

    async def arrive() -> None:
        await opened_deliveries(store, endpoints, new_event(partner.partner_id, created_at=NOW + MINUTE))

    async with store.reading() as reading:
        offset = await by_offset(lambda page: reading.deliveries.list(DeliveryFilter(), page), limit)
        cursor = await by_cursor(lambda page: reading.deliveries.list(DeliveryFilter(), page), limit, arrive)
    assert cursor == offset == [delivery for group in reversed(opened) for delivery in group]


async def test_the_failed_ones_of_an_endpoint_are_found_oldest_first(store: Store):
    partner = await stored_partner(store)
    endpoint, disabled = new_endpoint(partner.partner_id), new_endpoint(partner.partner_id, enabled=False)
    opened = [
        await opened_deliveries(store, [endpoint, disabled], new_event(partner.partner_id, created_at=at))
        for at in (NOW + 2 * SECOND, NOW, NOW + SECOND, NOW + 3 * SECOND)
    ]
    own = [next(item for item in group if item.endpoint_id == endpoint.endpoint_id) for group in opened]
    for delivery in (own[0], own[1], own[3]):
        await learn(store, replace(delivery, status=DeliveryStatus.FAILED, attempt_count=8), [])
    async with store.reading() as reading:
        found = reading.deliveries.failed
        name = endpoint.endpoint_id
        assert await found(name, NOW, NOW + 9 * SECOND, 10) == [own[1].id, own[0].id, own[3].id]
        assert await found(name, NOW + SECOND, NOW + 3 * SECOND, 10) == [own[0].id]
        assert await found(name, NOW, NOW + 9 * SECOND, 2) == [own[1].id, own[0].id]
        assert len(await found(disabled.endpoint_id, NOW, NOW + 9 * SECOND, 10)) == 4


# ── What is due ──────────────────────────────────────────────────────────────────────────────────


async def test_a_new_delivery_is_due_and_then_held_for_the_lease(store: Store):
    delivery = await one_delivery(store)
    assert await due(store, NOW - SECOND) == []
    assert await due(store) == [delivery]
    assert await due(store, NOW + LEASE - SECOND) == []
    assert await due(store, NOW + LEASE) == [delivery]


async def test_twenty_at_once_get_each_delivery_once(store: Store):
    partner = await stored_partner(store)
    endpoints = [new_endpoint(partner.partner_id) for _ in range(10)]
    opened = [
        delivery
        for _ in range(4)
        for delivery in await opened_deliveries(store, endpoints, new_event(partner.partner_id))
    ]
    shares = await at_once(store, 20, lambda transaction: transaction.deliveries.due(NOW, 3, LEASE))
    taken = [delivery.id for share in shares for delivery in share]
    assert all(len(share) <= 3 for share in shares)
    assert len(taken) == len(set(taken))
    assert {*taken, *(delivery.id for delivery in await due(store))} == {delivery.id for delivery in opened}


async def test_no_more_are_given_than_asked_for_and_the_longest_due_first(store: Store):
    partner = await stored_partner(store)
    endpoint = new_endpoint(partner.partner_id)
    opened = [
        (await opened_deliveries(store, [endpoint], new_event(partner.partner_id, created_at=NOW - age * SECOND)))[0]
        for age in (1, 5, 3, 4, 2)
    ]
    assert {delivery.id for delivery in await due(store, NOW, 2)} == {opened[1].id, opened[3].id}
    assert {delivery.id for delivery in await due(store, NOW, 9)} == {opened[index].id for index in (0, 2, 4)}


async def test_it_is_due_again_when_what_was_learned_says_so_and_never_after_the_end(store: Store):
    delivery = await one_delivery(store)
    await due(store)
    await learn(store, delivery, [], NOW + 10 * SECOND)
    assert await due(store, NOW + 9 * SECOND) == []
    assert await due(store, NOW + 10 * SECOND) == [delivery]
    await learn(store, delivery, [], None)
    assert await due(store, NOW + 1000 * LEASE) == []


async def test_asking_at_once_makes_an_events_deliveries_due_unless_they_are_delivered(store: Store):
    partner = await stored_partner(store)
    endpoints = [new_endpoint(partner.partner_id) for _ in range(3)]
    waiting, failed, done = await opened_deliveries(store, endpoints, event := new_event(partner.partner_id))
    await learn(store, replace(failed, status=DeliveryStatus.FAILED, attempt_count=8), [])
    await learn(store, done.learned([new_attempt(done.endpoint_id, NOW, 200)], None, NOW), [])
    await learn(store, waiting, [], NOW + 60 * SECOND)
    await within(store, lambda transaction: transaction.deliveries.check(partner.partner_id, event.event_id, NOW))
    assert {delivery.id for delivery in await due(store)} == {waiting.id, failed.id}
