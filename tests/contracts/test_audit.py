"""ports.AuditTrail, and what holds for every list: pages neither skip nor repeat."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as any_

from shared_code import errors
from shared_code.model import AuditEntry, ChainHead, Page, Severity
from shared_code.ports import AuditFilter, Store
from tests.contracts.acting import by_cursor, by_offset, undone
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


# ── What the archiver needs ──────────────────────────────────────────────────────────────────────


async def test_the_oldest_rows_come_first_and_only_named_ones_leave(store: Store):
    entries = [new_entry(created_at=NOW + age * SECOND) for age in (3, 1, 2, 1, 9)]
    await added(store, *entries)
    async with store.transaction() as transaction:
        oldest = await transaction.audit.oldest(NOW + 9 * SECOND, 3)
        assert [row.entry for row in oldest] == [entries[1], entries[3], entries[2]]
        numbers = [row.number for row in oldest]
        assert await transaction.audit.held([*numbers, 10**6]) == set(numbers)
        assert await transaction.audit.remove([*numbers[:2], 10**6]) == 2
        assert await transaction.audit.held(numbers) == {numbers[2]}
    async with store.reading() as reading:
        assert (await reading.audit.list(AuditFilter(), Page())).items == [entries[4], entries[0], entries[2]]


async def test_rows_that_were_to_leave_in_a_transaction_that_fails_are_there(store: Store):
    await added(store, new_entry())
    async with undone(store) as transaction:
        (row,) = await transaction.audit.oldest(NOW + SECOND, 9)
        assert await transaction.audit.remove([row.number]) == 1
        assert await transaction.audit.oldest(NOW + SECOND, 9) == []
    async with store.reading() as reading:
        assert await reading.audit.oldest(NOW + SECOND, 9) == [row]


def head(partition: str, sequence: int, **changes: object) -> ChainHead:
    made = ChainHead(
        partition=partition,
        partner_id=None,
        sequence=sequence,
        row=f"row {sequence}",
        hash=f"hash {sequence}",
        oldest=NOW,
        newest=NOW + sequence * SECOND,
    )
    return replace(made, **changes)


async def advance(store: Store, to: ChainHead, was: int) -> None:
    async with store.transaction() as transaction:
        await transaction.audit_heads.advance(to, was)


async def test_a_head_moves_on_only_from_where_it_was(store: Store):
    await advance(store, head("a", 3), 0)
    await advance(store, head("a", 5), 3)
    for was in (0, 3, 4, 6):
        with pytest.raises(errors.Conflict):
            await advance(store, head("a", 9), was)
    with pytest.raises(errors.Conflict):
        await advance(store, head("b", 2), 1)
    async with store.reading() as reading:
        assert await reading.audit_heads.of(["a", "b"]) == {"a": head("a", 5)}


async def test_chains_are_listed_by_partner_and_period_newest_first(store: Store):
    partner = uuid4()
    old, own = head("old", 2), head("own", 4, partner_id=partner, oldest=NOW + 3 * SECOND)
    for each in (old, own):
        await advance(store, each, 0)
    expected = {
        AuditFilter(): [own, old],
        AuditFilter(partner_id=partner): [own],
        AuditFilter(since=NOW + 3 * SECOND): [own],
        AuditFilter(until=NOW + 3 * SECOND): [old],
        AuditFilter(since=NOW + 2 * SECOND, until=NOW + 4 * SECOND): [own, old],
        AuditFilter(since=NOW + 5 * SECOND): [],
    }
    async with store.reading() as reading:
        for wanted, found in expected.items():
            assert await reading.audit_heads.list(wanted) == found, wanted
