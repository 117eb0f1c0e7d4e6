"""ports.Endpoints."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared_code import errors
from shared_code.model import EndpointState
from shared_code.ports import Store
from tests.contracts.acting import at_once, by_cursor, by_offset, stored_partner, within
from tests.contracts.samples import NOW, SECOND, new_endpoint


async def test_an_endpoint_is_found_as_it_was_added(store: Store):
    partner = await stored_partner(store)
    endpoints = [
        new_endpoint(partner.partner_id),
        new_endpoint(partner.partner_id, description="", enabled=False, secret_encrypted=None),
        new_endpoint(partner.partner_id, svix_endpoint_id="ep_1", state=EndpointState.REGISTERED, deleted_at=NOW),
    ]
    async with store.transaction() as transaction:
        for endpoint in endpoints:
            await transaction.endpoints.add(endpoint)
    async with store.reading() as reading:
        for endpoint in endpoints:
            assert await reading.endpoints.get(endpoint.endpoint_id) == endpoint
        assert await reading.endpoints.get("ep_unknown") is None


async def test_an_endpoint_without_events_is_refused(store: Store):
    partner = await stored_partner(store)
    with pytest.raises(errors.InvalidBody):
        await within(store, lambda transaction: transaction.endpoints.add(new_endpoint(partner.partner_id, events=())))


async def test_an_endpoint_id_is_used_once(store: Store):
    partner = await stored_partner(store)
    endpoint = new_endpoint(partner.partner_id)
    await within(store, lambda transaction: transaction.endpoints.add(endpoint))
    with pytest.raises(errors.Conflict):
        await within(store, lambda transaction: transaction.endpoints.add(endpoint))


async def test_an_id_of_the_webhook_service_belongs_to_one_endpoint(store: Store):
    partner = await stored_partner(store)
    first, second = new_endpoint(partner.partner_id, svix_endpoint_id="ep_1"), new_endpoint(partner.partner_id)
    async with store.transaction() as transaction:
        await transaction.endpoints.add(first)
        await transaction.endpoints.add(second)
        await transaction.endpoints.save(replace(first, description="still its own"))
    with pytest.raises(errors.Conflict):
        await within(store, lambda transaction: transaction.endpoints.save(replace(second, svix_endpoint_id="ep_1")))


async def test_saving_changes_all_but_the_owner_and_the_birth(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    endpoint = new_endpoint(partner.partner_id)
    await within(store, lambda transaction: transaction.endpoints.add(endpoint))
    changed = replace(
        endpoint,
        url="https://other.example/in",
        events=("order.created",),
        description="other",
        enabled=False,
        state=EndpointState.REGISTERED,
        svix_endpoint_id="ep_9",
        secret_encrypted=None,
        updated_at=NOW + SECOND,
        deleted_at=NOW + SECOND,
    )
    stolen = replace(changed, partner_id=other.partner_id, created_at=NOW - SECOND)
    await within(store, lambda transaction: transaction.endpoints.save(stolen))
    async with store.reading() as reading:
        assert await reading.endpoints.get(endpoint.endpoint_id) == changed


async def test_an_endpoint_can_be_locked_for_a_change(store: Store):
    partner = await stored_partner(store)
    endpoint = new_endpoint(partner.partner_id, description="")
    await within(store, lambda transaction: transaction.endpoints.add(endpoint))

    async def lengthen(transaction) -> None:
        known = await transaction.endpoints.get(endpoint.endpoint_id, lock=True)
        await transaction.endpoints.save(replace(known, description=known.description + "x"))

    await at_once(store, 10, lengthen)
    async with store.reading() as reading:
        assert await reading.endpoints.get(endpoint.endpoint_id) == replace(endpoint, description="x" * 10)


async def test_the_list_is_one_partners_and_leaves_deleted_ones_out(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    endpoints = [new_endpoint(partner.partner_id, created_at=NOW + (index // 2) * SECOND) for index in range(5)]
    deleted, foreign = new_endpoint(partner.partner_id, deleted_at=NOW), new_endpoint(other.partner_id)
    async with store.transaction() as transaction:
        for endpoint in (*endpoints, deleted, foreign):
            await transaction.endpoints.add(endpoint)

    async def another() -> None:
        newer = new_endpoint(partner.partner_id, created_at=NOW + timedelta(hours=1))
        await within(store, lambda transaction: transaction.endpoints.add(newer))

    async with store.reading() as reading:
        offset = await by_offset(lambda page: reading.endpoints.list(page, partner_id=partner.partner_id), 2)
        cursor = await by_cursor(lambda page: reading.endpoints.list(page, partner_id=partner.partner_id), 2, another)
    assert cursor == offset == [*reversed(endpoints)]


async def test_closing_all_ends_the_partners_endpoints_and_forgets_their_secrets(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    living = [new_endpoint(partner.partner_id) for _ in range(2)]
    gone = new_endpoint(partner.partner_id, deleted_at=NOW, enabled=False)
    foreign = new_endpoint(other.partner_id)
    async with store.transaction() as transaction:
        for endpoint in (*living, gone, foreign):
            await transaction.endpoints.add(endpoint)
    later = NOW + SECOND
    assert await within(store, lambda transaction: transaction.endpoints.close_all(partner.partner_id, later)) == 2
    assert await within(store, lambda transaction: transaction.endpoints.close_all(partner.partner_id, later)) == 0
    async with store.reading() as reading:
        for endpoint in living:
            closed = replace(endpoint, enabled=False, secret_encrypted=None, deleted_at=later, updated_at=later)
            assert await reading.endpoints.get(endpoint.endpoint_id) == closed
        assert await reading.endpoints.get(gone.endpoint_id) == gone
        assert await reading.endpoints.get(foreign.endpoint_id) == foreign
