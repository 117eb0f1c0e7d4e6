"""ports.Events."""

import orjson
from hypothesis import HealthCheck, given, settings

from shared_code.ports import Store
from tests.contracts.acting import at_once, stored_partner, within
from tests.contracts.samples import JSON_OBJECTS, new_event


async def test_an_event_is_found_as_it_was_added(store: Store):
    partner = await stored_partner(store)
    event = new_event(partner.partner_id)
    bare = new_event(partner.partner_id, payload={}, request_id=None)
    async with store.transaction() as transaction:
        assert await transaction.events.add(event)
        assert await transaction.events.add(bare)
    async with store.reading() as reading:
        assert await reading.events.get(partner.partner_id, event.event_id) == event
        assert await reading.events.get(partner.partner_id, bare.event_id) == bare
        assert await reading.events.get(partner.partner_id, "evt_unknown") is None


async def test_an_event_id_is_taken_once_per_partner_and_the_first_one_stays(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    event = new_event(partner.partner_id, payload={"n": 1})
    again = new_event(partner.partner_id, event_id=event.event_id, payload={"n": 2})
    elsewhere = new_event(other.partner_id, event_id=event.event_id, payload={"n": 3})
    async with store.transaction() as transaction:
        assert await transaction.events.add(event)
        assert not await transaction.events.add(again)
        assert await transaction.events.add(elsewhere)
    assert not await within(store, lambda transaction: transaction.events.add(again))
    async with store.reading() as reading:
        assert await reading.events.get(partner.partner_id, event.event_id) == event
        assert await reading.events.get(other.partner_id, event.event_id) == elsewhere


async def test_of_twenty_twins_at_once_one_is_added(store: Store):
    partner = await stored_partner(store)
    event = new_event(partner.partner_id)
    added = await at_once(store, 20, lambda transaction: transaction.events.add(event))
    assert sorted(added) == [False] * 19 + [True]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=JSON_OBJECTS)
async def test_a_payload_comes_back_as_it_was_and_can_be_sent(store: Store, payload: dict[str, object]):
    partner = await stored_partner(store)
    event = new_event(partner.partner_id, payload=payload)
    await within(store, lambda transaction: transaction.events.add(event))
    async with store.reading() as reading:
        known = await reading.events.get(partner.partner_id, event.event_id)
    assert known == event
    assert known
    assert orjson.loads(orjson.dumps(known.payload)) == payload


async def test_the_publishers_order_of_names_is_kept(store: Store):
    partner = await stored_partner(store)
    event = new_event(partner.partner_id, payload={"b": 1, "aa": {"z": 1, "y": 2}, "a": 3})
    await within(store, lambda transaction: transaction.events.add(event))
    async with store.reading() as reading:
        known = await reading.events.get(partner.partner_id, event.event_id)
    assert known
    assert orjson.dumps(known.payload) == orjson.dumps(event.payload)
