"""ports.SyncSources and ports.SyncRecords: how a resource is read, what it has, and what could not land."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared_code import errors
from shared_code.model import CursorKind, CursorRule, Page, Paging, PagingStyle, Quarantined, Reading, Seen, Source
from shared_code.ports import Store
from tests.contracts.acting import apart, at_once, by_cursor, nothing, stored_partner, within
from tests.contracts.samples import NOW, SECOND
from tests.contracts.test_sync_jobs import added_job

READING = Reading(
    connector="rest",
    path="v2/orders",
    query={"expand": "lines"},
    paging=Paging(style=PagingStyle.PAGE, size=50, size_param="per_page", param="page", next=""),
    items="data.orders",
    total="meta.total",
    key="uuid",
    fields={"number": "order.number"},
    cursor=CursorRule(field="version", param="after", kind=CursorKind.NUMBER, lag_seconds=5),
    delete_missing=False,
    full_every_seconds=3600,
    publish={"created": "order.created"},
)


def new_source(partner_id: UUID, **changes: Any) -> Source:
    source = Source(
        partner_id=partner_id,
        resource="orders",
        reading=READING,
        schedule_seconds=60,
        next_run_at=NOW,
        cursor="17",
        validators={"etag": '"abc"', "query": "a=1"},
        last_full_at=NOW,
        streak=2,
        failing_since=NOW - SECOND,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(source, **changes)


async def put(store: Store, *sources: Source) -> None:
    async with store.transaction() as transaction:
        for source in sources:
            await transaction.sources.put(source)


async def test_a_source_is_found_as_it_was_put_and_put_again(store: Store):
    partner = await stored_partner(store)
    source = new_source(partner.partner_id)
    plain = new_source(partner.partner_id, resource="inventory", reading=Reading(cursor=None), cursor=None)
    await put(store, source, plain)
    changed = replace(source, cursor="18", streak=0, failing_since=None, disabled_at=NOW, reading=Reading())
    async with store.reading() as reading:
        assert await reading.sources.get(partner.partner_id, "orders") == source
        assert await reading.sources.list(partner.partner_id) == [plain, source]
        assert await reading.sources.get(uuid4(), "orders") is None
    await put(store, changed)
    async with store.transaction() as transaction:
        assert await transaction.sources.get(partner.partner_id, "orders", lock=True) == changed


async def test_a_source_of_nobody_is_refused(store: Store):
    with pytest.raises(errors.NotFound):
        await put(store, new_source(uuid4()))


async def test_a_removed_source_is_gone_and_can_be_put_anew(store: Store):
    source = new_source((await stored_partner(store)).partner_id)
    await put(store, source)

    async def remove() -> bool:
        return await within(store, lambda transaction: transaction.sources.remove(source.partner_id, source.resource))

    assert [await remove(), await remove()] == [True, False]
    async with store.reading() as reading:
        assert await reading.sources.get(source.partner_id, "orders") is None
        assert await reading.sources.list(source.partner_id) == []
    await put(store, source)
    async with store.reading() as reading:
        assert await reading.sources.get(source.partner_id, "orders") == source


async def test_what_is_due_is_scheduled_switched_on_and_free(store: Store):
    partner = await stored_partner(store)
    due = new_source(partner.partner_id)
    others = [
        new_source(partner.partner_id, resource="later", next_run_at=NOW + SECOND),
        new_source(partner.partner_id, resource="never", next_run_at=None, schedule_seconds=None),
        new_source(partner.partner_id, resource="off", disabled_at=NOW),
    ]
    await put(store, due, *others)
    async with store.transaction() as transaction:
        assert await transaction.sources.due(NOW, 10) == [due]
        twin = await apart(within(store, lambda transaction: transaction.sources.due(NOW, 10)))
        assert twin == []
    assert [len(found) for found in await at_once(store, 1, lambda each: each.sources.due(NOW + SECOND, 1))] == [1]


async def test_records_are_known_by_key_until_they_are_forgotten(store: Store):
    job = await added_job(store)
    at = (job.partner_id, "orders")
    first = [Seen(key=str(number), hash=bytes([number])) for number in range(1, 6)]
    again = [Seen(key="2", hash=b"new"), Seen(key="9", hash=b"nine")]
    async with store.transaction() as transaction:
        await transaction.records.keep(*at, job.job_id, first)
        await transaction.records.keep(*at, job.job_id, again)
        await transaction.records.forget(*at, ["1", "never there"])
    async with store.reading() as reading:
        known = await reading.records.known(*at, ["1", "2", "3", "9", "10"])
        assert known == {"2": b"new", "3": b"\x03", "9": b"nine"}
        assert await reading.records.known(job.partner_id, "inventory", ["2"]) == {}


async def test_what_a_job_has_not_seen_is_found_in_pieces(store: Store):
    job, later = await added_job(store), uuid4()
    at = (job.partner_id, "orders")
    keys = [f"key-{number:02}" for number in range(10)]
    async with store.transaction() as transaction:
        await transaction.records.keep(*at, job.job_id, [Seen(key=key, hash=b"h") for key in keys])
        await transaction.records.keep(*at, later, [Seen(key=key, hash=b"i") for key in keys[:4]])
        await transaction.records.touch(*at, later, [keys[5], "nobody"])
    async with store.reading() as reading:
        assert await reading.records.unseen(*at, later, "", 6) == ([keys[4]], keys[5])
        assert await reading.records.unseen(*at, later, keys[5], 6) == (keys[6:], keys[9])
        assert await reading.records.unseen(*at, later, keys[9], 6) == ([], None)
        assert await reading.records.known(*at, ["nobody"]) == {}


async def test_the_quarantine_of_a_job_keeps_records_and_reasons(store: Store):
    job = await added_job(store)
    rows = [
        Quarantined(
            quarantine_id=uuid4(),
            job_id=job.job_id,
            key=key,
            reason="`total` is no number.",
            record=record,
            created_at=NOW + timedelta(seconds=number),
        )
        for number, (key, record) in enumerate([("1", {"id": 1, "total": "a lot"}), (None, "nonsense"), (None, None)])
    ]
    await within(store, lambda transaction: transaction.records.quarantine(rows))

    async def listed(page: Page):
        async with store.reading() as reading:
            return await reading.records.quarantined(job.job_id, page)

    assert await by_cursor(listed, 2, nothing) == rows[::-1]
    async with store.reading() as reading:
        assert (await reading.records.quarantined(uuid4(), Page())).total == 0
