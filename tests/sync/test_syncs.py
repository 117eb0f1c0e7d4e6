"""What a sync does: from the example partner into the backend, whole, in part, and again."""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared_code.model import CursorRule, JobStatus, Page, Paging, PagingStyle
from shared_code.ports import AuditFilter, JobFilter
from tests.fault_proxy import Liar, json_answer
from tests.shop import Shop
from tests.sync.house import CHANGES, FULL, OPERATOR, House

WAYS = {
    "cursor": Paging(size=25),
    "page": Paging(style=PagingStyle.PAGE, size=25, param="page", size_param="per_page"),
    "offset": Paging(style=PagingStyle.OFFSET, size=25, param="offset", size_param="limit"),
    "link": Paging(style=PagingStyle.LINK, size=25, param="", size_param="per_page"),
}


def counts(job: Any) -> dict[str, int]:
    names = ("processed", "changed", "deleted", "failed")
    return {name: getattr(job, f"records_{name}") for name in names if getattr(job, f"records_{name}")}


@pytest.mark.parametrize("paging", WAYS.values(), ids=WAYS)
async def test_a_full_sync_lands_every_record_however_the_partner_pages(house: House, paging: Paging):
    partner = await house.connected()
    await house.configured(partner, paging=paging)
    job = await house.synced(partner, FULL)
    assert (job.status, job.error_message, counts(job)) == (
        JobStatus.COMPLETED,
        None,
        {"processed": 60, "changed": 60},
    )
    assert (job.records_total, job.progress_percent) == (60, 100.0)
    rows = house.rows(partner)
    assert sorted(map(int, rows)) == list(range(1, 61))
    assert (rows["7"]["number"], rows["7"]["status"]) == ("ORD-0000007", "cancelled")
    assert len(house.shop.asked()) == 3


async def test_a_partner_that_nobody_configured_is_read_as_most_apis_can_be(house: House):
    partner = await house.connected()
    job = await house.synced(partner, FULL)
    assert (job.status, job.records_processed, len(house.rows(partner))) == (JobStatus.COMPLETED, 60, 60)
    after = await house.gateway.partners.get(OPERATOR, partner.partner_id)
    assert after.last_sync_at is not None


async def test_a_second_run_reads_only_what_changed(house: House):
    partner = await house.connected()
    await house.synced(partner, FULL)
    house.shop.touches(3, 40, 41)
    house.shop.behaves()
    changes = await house.synced(partner, CHANGES)
    assert (changes.status, counts(changes)) == (JobStatus.COMPLETED, {"processed": 3, "changed": 3})
    (asked,) = house.shop.asked()
    assert "updated_since=" in asked["path"] + asked.get("query", "")
    assert house.rows(partner)["3"]["status"] == "new"  # one revision on
    assert counts(await house.synced(partner, CHANGES)) == {}


async def test_a_thousand_rows_of_one_moment_over_three_runs_are_a_thousand_rows(house: House):
    house.shop.begins_with(orders=1000)
    house.shop.touches(*range(1, 1001))
    partner = await house.connected()
    await house.configured(partner, paging=Paging(size=300))
    runs = [counts(await house.synced(partner, CHANGES)) for _ in range(3)]
    assert runs == [{"processed": 1000, "changed": 1000}, {}, {}]
    assert len(house.rows(partner)) == 1000


async def test_an_unchanged_list_is_not_even_sent_again(house: House):
    partner = await house.connected()
    await house.synced(partner, FULL)
    await house.synced(partner, CHANGES)
    house.shop.behaves()
    assert counts(await house.synced(partner, CHANGES)) == {}
    assert [asked["status"] for asked in house.shop.asked()] == [304]
    house.shop.touches(5)
    assert counts(await house.synced(partner, CHANGES)) == {"processed": 1, "changed": 1}


async def test_what_changes_late_is_found_when_the_source_asks_for_more_than_it_must(house: House):
    partner = await house.connected()
    await house.configured(partner, cursor=CursorRule(lag_seconds=4))
    await house.synced(partner, FULL)
    source = await house.source(partner)
    house.shop.behaves()
    await house.synced(partner, CHANGES)
    (asked,) = house.shop.asked()
    assert source.cursor == "2026-01-01T00:00:15Z"
    assert "2026-01-01T00%3A00%3A11Z" in asked["path"] + asked.get("query", "")


async def test_a_full_sync_deletes_what_is_gone_and_an_incremental_one_does_not(house: House):
    partner = await house.connected()
    await house.synced(partner, FULL)
    house.shop.removes(7, 60)
    assert counts(await house.synced(partner, CHANGES)) == {}
    assert len(house.rows(partner)) == 60
    assert counts(await house.synced(partner, FULL)) == {"processed": 58, "deleted": 2}
    assert sorted({7, 60} & {int(key) for key in house.rows(partner)}) == []
    assert len(house.rows(partner)) == 58


async def test_an_emptied_list_deletes_nothing(house: House):
    partner = await house.connected()
    await house.synced(partner, FULL)
    house.shop.begins_with(orders=0)
    job = await house.synced(partner, FULL)
    assert (job.status, job.error_class) == (JobStatus.FAILED, "config")
    assert len(house.rows(partner)) == 60


async def test_a_poison_record_is_set_aside_and_the_rest_lands(house: House):
    house.shop.misbehaves(poison=[17])
    partner = await house.connected()
    job = await house.synced(partner, FULL)
    assert (job.status, counts(job)) == (JobStatus.COMPLETED, {"processed": 60, "changed": 59, "failed": 1})
    (bad,) = await house.quarantine(job)
    assert (bad.key, bad.reason) == ("17", "`updated_at` is not a time.")
    assert isinstance(bad.record, dict)
    assert bad.record["total"] == "a lot"
    assert len(house.rows(partner)) == 59


DEEP = "[" * 500 + "]" * 500


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", "-Infinity", DEEP], ids=lambda value: value[:9])
async def test_what_json_cannot_say_costs_its_own_record_alone(house: House, value: str):
    records = [{"id": number, "number": f"A-{number}", "updated_at": "2026-01-01T00:00:00Z"} for number in range(40)]
    body = json.dumps({"data": [*records, {**records[0], "id": 99, "customer": "?"}]}).replace('"?"', value)
    with Liar() as partner_api:
        partner_api.tells(json_answer(body.encode()))
        partner = await house.connected(api_endpoint=partner_api.url)
        job = await house.synced(partner, FULL)
    assert job.status is JobStatus.COMPLETED
    (bad,) = await house.quarantine(job)
    assert (bad.key, bad.reason) == ("99", "It has a value that JSON cannot say.")
    assert len(house.rows(partner)) == 40


async def test_a_record_that_the_backend_refuses_is_found_among_the_others(house: House):
    """The cursor is not looked at here, so the poison is only met by the backend."""
    house.shop.misbehaves(poison=[1, 42])
    partner = await house.connected()
    await house.configured(partner, cursor=None)
    job = await house.synced(partner, FULL)
    assert (job.status, counts(job)) == (JobStatus.COMPLETED, {"processed": 60, "changed": 58, "failed": 2})
    assert {bad.key: bad.reason for bad in await house.quarantine(job)} == {
        "1": "The backend refuses it: Missing param: number",
        "42": "The backend refuses it: Missing param: number",
    }
    assert len(house.rows(partner)) == 58


async def test_what_turned_bad_is_not_taken_for_gone(house: House):
    partner = await house.connected()
    await house.synced(partner, FULL)
    house.shop.misbehaves(poison=[17])
    assert counts(await house.synced(partner, FULL)) == {"processed": 60, "failed": 1}
    assert len(house.rows(partner)) == 60


@pytest.mark.parametrize("cursor", [CursorRule(), None], ids=["told by us", "told by the backend"])
async def test_too_many_bad_records_stop_the_job(house: House, cursor: CursorRule | None):
    house.shop.misbehaves(poison=[1, 2, 3, 4])
    partner = await house.connected()
    await house.configured(partner, cursor=cursor)
    job = await house.synced(partner, FULL)
    assert (job.status, job.error_class, job.records_failed) == (JobStatus.FAILED, "config", 4)
    assert "4 records could not land" in (job.error_message or "")
    assert len(await house.quarantine(job)) == 4


async def test_a_mapping_says_which_members_land_under_which_name(house: House):
    partner = await house.connected()
    fields = {"number": "customer", "status": "status", "total": "total"}
    await house.configured(partner, fields=fields, key="number")
    await house.synced(partner, FULL)
    row = house.rows(partner)["ORD-0000007"]
    assert (row["number"], row["status"], row["currency"]) == ("Customer 7", "cancelled", "")


async def test_what_changed_is_published_when_the_partner_asks_for_it(house: House):
    partner = await house.connected()
    await house.configured(partner, publish={"updated": "order.created", "deleted": "inventory.updated"})
    await house.synced(partner, FULL)
    house.shop.touches(5, 6)
    await house.synced(partner, CHANGES)
    house.shop.removes(7)
    await house.synced(partner, FULL)
    async with house.gateway.store.reading() as reading:
        backlog = await reading.outbox.backlog()
        entries = await reading.audit.list(AuditFilter(partner_id=partner.partner_id), Page())
    assert backlog["owed"] >= 3
    assert [entry.event_type for entry in entries.items].count("sync.completed") == 3


async def test_what_is_due_is_started_once_and_again_after_its_interval(house: House):
    partner = await house.connected()
    await house.configured(partner, every=60, full_every_seconds=3600)
    dispatch = house.gateway.sync_sources.dispatch

    async def types() -> list[str]:
        found = await house.gateway.sync_jobs.list(JobFilter(partner_id=partner.partner_id), Page())
        return [job.job_type.value for job in found.items]

    await dispatch()
    await dispatch()
    assert await types() == ["full_sync"]
    await house.gateway.sync_runner.run()
    house.clock.forward(seconds=61)
    await dispatch()
    await house.gateway.sync_runner.run()
    house.clock.forward(hours=2)
    await dispatch()
    assert await types() == ["full_sync", "incremental_sync", "full_sync"]
    source = await house.source(partner)
    assert source.next_run_at
    assert source.next_run_at - house.clock() < timedelta(seconds=60)


async def test_another_way_of_reading_begins_anew(house: House):
    partner = await house.connected()
    await house.synced(partner, FULL)
    assert (await house.source(partner)).cursor
    await house.configured(partner, path="orders", paging=Paging(size=7))
    assert (await house.source(partner)).cursor is None


async def test_records_without_a_key_make_nothing_look_gone(house: House, shop: Shop):
    partner = await house.connected()
    await house.configured(partner, key="number")
    await house.synced(partner, FULL)
    shop.misbehaves(poison=[17])
    job = await house.synced(partner, FULL)
    assert (job.records_failed, job.records_deleted) == (1, 0)
