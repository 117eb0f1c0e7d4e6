"""ports.Partners."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from shared_code.model import AuthMethod, Page, PartnerStatus, PartnerType
from shared_code.ports import Store
from tests.contracts.acting import by_cursor, by_offset, stored_partner, within
from tests.contracts.samples import JSON_OBJECTS, NOW, SECOND, new_partner


async def test_a_partner_is_found_as_it_was_added(store: Store):
    partner = await stored_partner(store)
    bare = await stored_partner(
        store, api_endpoint=None, credentials_encrypted=None, metadata={}, created_by=None, type=PartnerType.PARTNER
    )
    gone = await stored_partner(store, last_sync_at=NOW, deleted_at=NOW, status=PartnerStatus.INACTIVE)
    async with store.reading() as reading:
        for known in (partner, bare, gone):
            assert await reading.partners.get(known.partner_id) == known


async def test_an_unknown_partner_is_none_locked_or_not(store: Store):
    async with store.transaction() as transaction:
        assert await transaction.partners.get(uuid4()) is None
        assert await transaction.partners.get(uuid4(), lock=True) is None


async def test_saving_changes_all_that_can_change(store: Store):
    partner = await stored_partner(store)
    changed = replace(
        partner,
        name="New Name",
        status=PartnerStatus.SUSPENDED,
        api_endpoint=None,
        credentials_encrypted="v1.k2.other",
        rate_limit_per_minute=7,
        metadata={"other": True},
        updated_at=NOW + timedelta(hours=1),
        last_sync_at=NOW,
        deleted_at=NOW + SECOND,
    )
    await within(store, lambda transaction: transaction.partners.save(changed))
    async with store.reading() as reading:
        assert await reading.partners.get(partner.partner_id) == changed


async def test_saving_keeps_what_a_partner_is_and_where_it_came_from(store: Store):
    partner = await stored_partner(store)
    other = replace(
        partner,
        type=PartnerType.PROVIDER,
        auth_method=AuthMethod.OAUTH2,
        created_at=NOW - SECOND,
        created_by="someone else",
    )
    await within(store, lambda transaction: transaction.partners.save(other))
    async with store.reading() as reading:
        assert await reading.partners.get(partner.partner_id) == partner


async def test_saving_a_partner_that_is_not_there_adds_nothing(store: Store):
    partner = new_partner()
    await within(store, lambda transaction: transaction.partners.save(partner))
    async with store.reading() as reading:
        assert await reading.partners.get(partner.partner_id) is None


async def test_what_is_read_can_be_changed_without_changing_what_is_stored(store: Store):
    partner = await stored_partner(store, metadata={"tags": ["a"]})
    async with store.reading() as reading:
        first = await reading.partners.get(partner.partner_id)
    assert first
    assert isinstance(first.metadata, dict)
    first.metadata["tags"] = "spoiled"
    async with store.reading() as reading:
        assert await reading.partners.get(partner.partner_id) == partner


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=JSON_OBJECTS)
async def test_metadata_comes_back_as_it_was_and_can_be_sent(store: Store, metadata: dict[str, object]):
    partner = await stored_partner(store, metadata=metadata)
    async with store.reading() as reading:
        known = await reading.partners.get(partner.partner_id)
    assert known
    assert as_floats(known.metadata) == as_floats(metadata)
    assert as_floats(orjson.loads(orjson.dumps(known.metadata))) == as_floats(metadata)


def as_floats(value: object) -> object:
    """A large number may come back as another kind of the same number."""
    if isinstance(value, dict):
        return {key: as_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    return float(value) if isinstance(value, int | float) else value


async def test_the_list_is_newest_first_and_filtered_by_type_and_status(store: Store):
    old = await stored_partner(store, created_at=NOW, type=PartnerType.VENDOR)
    new = await stored_partner(store, created_at=NOW + SECOND, type=PartnerType.PROVIDER)
    newest = await stored_partner(
        store, created_at=NOW + 2 * SECOND, type=PartnerType.VENDOR, status=PartnerStatus.PENDING
    )
    async with store.reading() as reading:
        everyone = await reading.partners.list(Page())
        vendors = await reading.partners.list(Page(), type=PartnerType.VENDOR)
        active = await reading.partners.list(Page(), status=PartnerStatus.ACTIVE)
        both = await reading.partners.list(Page(), type=PartnerType.VENDOR, status=PartnerStatus.PENDING)
        none = await reading.partners.list(Page(), status=PartnerStatus.SUSPENDED)
    assert (everyone.items, everyone.total, everyone.next) == ([newest, new, old], 3, None)
    assert (vendors.items, vendors.total) == ([newest, old], 2)
    assert (active.items, active.total) == ([new, old], 2)
    assert (both.items, both.total) == ([newest], 1)
    assert (none.items, none.total, none.next) == ([], 0, None)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_every_partner_is_on_exactly_one_page_while_others_arrive(store: Store, limit: int):
    partners = [await stored_partner(store, created_at=NOW + (index // 3) * SECOND) for index in range(7)]
    async with store.reading() as reading:
        offset = await by_offset(reading.partners.list, limit)
    async with store.reading() as reading:
        cursor = await by_cursor(
            reading.partners.list, limit, lambda: stored_partner(store, created_at=NOW + 60 * SECOND)
        )
    assert cursor == offset == [*reversed(partners)]


async def test_active_partners_are_those_whose_status_says_so(store: Store):
    active = [await stored_partner(store) for _ in range(2)]
    for status in (PartnerStatus.PENDING, PartnerStatus.SUSPENDED, PartnerStatus.INACTIVE):
        await stored_partner(store, status=status)
    async with store.reading() as reading:
        assert await reading.partners.active() == [partner.partner_id for partner in active]
