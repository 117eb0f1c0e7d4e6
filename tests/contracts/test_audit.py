"""ports.AuditTrail, and what holds for every list: pages neither skip nor repeat."""

from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as any_

from shared_code import errors
from shared_code.model import AuditEntry, Page, Severity
from shared_code.ports import AuditFilter, Store
from tests.contracts.acting import by_cursor, by_offset
from tests.contracts.samples import NOW, SECOND, new_entry


async def added(store: Store, *entries: AuditEntry) -> None:
    async with store.transaction() as transaction:
        for entry in entries:
            await transaction.audit.add(entry)


async def test_an_entry_is_read_back_as_it_was_added(store: Store):
    full = new_entry(severity=Severity.CRITICAL)
    bare = new_entry(
        partner_id=None, metadata={}, request_id=None, ip_address=None, user_agent=None, created_at=NOW - SECOND
    )
    await added(store, full, bare)
    async with store.reading() as reading:
        assert (await reading.audit.list(AuditFilter(), Page())).items == [full, bare]


async def test_an_entry_is_added_once(store: Store):
    entry = new_entry()
    await added(store, entry)
    with pytest.raises(errors.Conflict):
        await added(store, entry)


@pytest.mark.parametrize(
    ("address", "kept"), [("2001:DB8:0:0::1", "2001:db8::1"), ("::ffff:1.2.3.4", "::ffff:1.2.3.4")]
)
async def test_an_address_is_kept_in_its_usual_form(store: Store, address: str, kept: str):
    await added(store, new_entry(ip_address=address))
    async with store.reading() as reading:
        assert [entry.ip_address for entry in (await reading.audit.list(AuditFilter(), Page())).items] == [kept]


@pytest.mark.parametrize("address", ["1.2.3.4:5678", "example.com", "1.2.3.400", "fe80::1%eth0", ""])
async def test_what_is_no_address_is_refused(store: Store, address: str):
    with pytest.raises(errors.InvalidBody):
        await added(store, new_entry(ip_address=address))


async def test_each_filter_finds_its_own(store: Store):
    partner = uuid4()
    entries = [
        new_entry(partner_id=partner, created_at=NOW),
        new_entry(severity=Severity.ERROR, created_at=NOW + SECOND),
        new_entry(event_type="api_key.revoked", created_at=NOW + 2 * SECOND),
        new_entry(request_id="req-9", created_at=NOW + 3 * SECOND),
    ]
    await added(store, *entries)
    expected = {
        AuditFilter(): [3, 2, 1, 0],
        AuditFilter(partner_id=partner): [0],
        AuditFilter(severity=Severity.ERROR): [1],
        AuditFilter(event_type="api_key.revoked"): [2],
        AuditFilter(request_id="req-9"): [3],
        AuditFilter(since=NOW + 2 * SECOND): [3, 2],
        AuditFilter(until=NOW + 2 * SECOND): [1, 0],
        AuditFilter(since=NOW + SECOND, until=NOW + 2 * SECOND): [1],
        AuditFilter(partner_id=partner, severity=Severity.ERROR): [],
    }
    async with store.reading() as reading:
        for wanted, indexes in expected.items():
            found = await reading.audit.list(wanted, Page())
            assert (found.items, found.total) == ([entries[index] for index in indexes], len(indexes))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ages=any_.lists(any_.integers(0, 3), max_size=12),
    limit=any_.integers(1, 13),
    arriving=any_.integers(0, 2),
)
async def test_pages_neither_skip_nor_repeat_whatever_ties_and_arrives(
    store: Store, ages: list[int], limit: int, arriving: int
):
    partner = uuid4()
    entries = [new_entry(partner_id=partner, created_at=NOW - age * SECOND) for age in ages]
    await added(store, *entries)

    async def arrive() -> None:
        newer = [new_entry(partner_id=partner, created_at=NOW + timedelta(hours=1)) for _ in range(arriving)]
        await added(store, *newer)

    async with store.reading() as reading:
        offset = await by_offset(lambda page: reading.audit.list(AuditFilter(partner_id=partner), page), limit)
        cursor = await by_cursor(lambda page: reading.audit.list(AuditFilter(partner_id=partner), page), limit, arrive)
    newest_first = sorted(enumerate(entries), key=lambda pair: (pair[1].created_at, pair[0]), reverse=True)
    assert cursor == offset == [entry for _, entry in newest_first]


async def test_a_cursor_and_an_offset_together_count_from_the_cursor(store: Store):
    entries = [new_entry(created_at=NOW - index * SECOND) for index in range(6)]
    await added(store, *entries)
    async with store.reading() as reading:
        first = await reading.audit.list(AuditFilter(), Page(limit=2))
        later = await reading.audit.list(AuditFilter(), Page(limit=2, offset=1, after=first.next))
    assert (later.items, later.total) == (entries[3:5], 6)


async def test_the_last_page_says_that_it_is_the_last(store: Store):
    await added(store, *(new_entry() for _ in range(4)))
    async with store.reading() as reading:
        assert (await reading.audit.list(AuditFilter(), Page(limit=3))).next is not None
        assert (await reading.audit.list(AuditFilter(), Page(limit=4))).next is None
        beyond = await reading.audit.list(AuditFilter(), Page(limit=4, offset=9))
    assert (beyond.items, beyond.total, beyond.next) == ([], 4, None)
