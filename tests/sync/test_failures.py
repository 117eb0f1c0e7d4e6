"""What becomes of a job when something fails: whose fault it is, whether it is tried again, and who is told."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from shared_code import errors
from shared_code.model import AuthMethod, ErrorClass, Job, JobStatus, Page, Paging, PagingStyle, PartnerMove
from shared_code.ports import AuditFilter, Shelf, StaleFence
from tests.fault_proxy import Heard, Liar, json_answer
from tests.services import free_port
from tests.sync.house import CHANGES, FULL, OPERATOR, House

SMALL = Paging(size=20)


def standing(job: Job) -> tuple[str, str | None]:
    return job.status.value, job.error_class.value if job.error_class else None


async def test_a_401_ends_the_job_at_once_with_one_question(house: House):
    house.shop.misbehaves(status=401)
    job = await house.synced(await house.connected(), FULL)
    assert standing(job) == ("failed", "auth")
    assert job.error_message == "The partner's API answers 401."
    assert job.completed_at
    assert len(house.shop.asked()) == 1
    house.clock.forward(days=1)
    assert standing(await house.worked(job)) == ("failed", "auth")
    assert len(house.shop.asked()) == 1


async def test_a_429_is_waited_for_and_is_no_failure(house: House):
    partner = await house.connected()
    await house.configured(partner, paging=SMALL)
    house.shop.misbehaves(status=429, retry_after=2, times=1)
    waiting = await house.synced(partner, FULL)
    assert standing(waiting) == ("running", None)
    assert waiting.waiting_until
    assert 1 < (waiting.waiting_until - house.clock()).total_seconds() <= 2
    assert standing(await house.worked(waiting)) == ("running", None)
    assert len(house.shop.asked()) == 1
    house.clock.forward(seconds=2)
    done = await house.worked(waiting)
    assert (standing(done), done.records_processed) == (("completed", None), 60)


@pytest.mark.parametrize(
    ("given", "seconds"), [("Wed, 01 Jan 2020 00:00:00 GMT", 0), ("soon", 30), (None, 30), (10**9, 86_400)]
)
async def test_a_429_may_say_anything(house: House, given: Any, seconds: int):
    house.shop.misbehaves(status=429, retry_after=given, times=1)
    job = await house.synced(await house.connected(), FULL)
    if seconds:
        assert job.waiting_until
        assert abs((job.waiting_until - house.clock()).total_seconds() - seconds) < 3
    else:
        assert standing(job) == ("completed", None)


async def test_what_passes_is_tried_again_from_where_it_was(house: House):
    partner = await house.connected()
    await house.configured(partner, paging=SMALL)
    job = await house.started(partner, FULL)
    house.shop.misbehaves(status=500, times=2)
    job = await house.worked(job)
    assert (standing(job), job.error_message) == (("running", "transient"), "The partner's API answers 500.")
    house.clock.forward(seconds=2)
    job = await house.worked(job)
    assert job.attempt == 2
    house.clock.forward(seconds=4)
    done = await house.worked(job)
    assert (standing(done), done.error_message, done.records_processed) == (("completed", None), None, 60)


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 408}])
async def test_what_does_not_pass_fails_after_five_tries(house: House, fault: dict[str, Any]):
    house.shop.misbehaves(**fault)
    job = await house.started(await house.connected(), FULL)
    for tries in range(1, 6):
        assert job.status.active
        job = await house.worked(job)
        assert len(house.shop.asked()) == tries
        house.clock.forward(minutes=5)
    assert standing(job) == ("failed", "transient")


async def test_a_partner_that_is_not_there_is_transient(house: House):
    partner = await house.connected(api_endpoint=f"http://127.0.0.1:{free_port()}")
    assert standing(await house.synced(partner, FULL)) == ("running", "transient")


@pytest.mark.parametrize(
    "fault", [{"status": 404}, {"status": 400}, {"redirect_to": "http://10.0.0.1/"}, {"gzip_bomb": 1}]
)
async def test_what_only_another_configuration_can_mend_is_not_tried_again(house: House, fault: dict[str, Any]):
    house.shop.misbehaves(**fault)
    assert standing(await house.synced(await house.connected(), FULL)) == ("failed", "config")
    assert len(house.shop.asked()) == 1


@pytest.mark.parametrize("reading", [{"items": "orders"}, {"items": ""}, {"path": "nothing"}, {"items": "limit"}])
async def test_a_list_that_is_not_where_it_should_be_is_told(house: House, reading: dict[str, Any]):
    partner = await house.connected()
    await house.configured(partner, **reading)
    assert standing(await house.synced(partner, FULL)) == ("failed", "config")


async def test_wrong_credentials_and_none_at_all_are_told_apart_from_a_wrong_path(house: House):
    wrong = await house.connected(credentials={"api_key": "wrong"})
    assert standing(await house.synced(wrong, FULL)) == ("failed", "auth")
    unconnected = await house.connected(auth_method=AuthMethod.OAUTH2, credentials=None)
    assert standing(await house.synced(unconnected, FULL)) == ("failed", "auth")


def in_a_circle(heard: Heard) -> list[bytes]:
    """Two pages that lead to each other, whichever way is asked for them."""
    odd = "cursor=b" in heard.target
    record = {"id": 1 if odd else 2, "number": "A", "updated_at": "2026-01-01T00:00:00Z"}
    body = json.dumps({"data": [record], "next_cursor": "c" if odd else "b"}).encode()
    link = f'</orders?cursor={"c" if odd else "b"}>; rel="next"'
    return list(json_answer(body, f"Link: {link}")(heard))


@pytest.mark.parametrize("style", [style for style in PagingStyle if style is not PagingStyle.NONE])
async def test_pages_that_go_in_a_circle_end_the_job(house: House, style: PagingStyle):
    with Liar() as partner_api:
        partner_api.tells(in_a_circle)
        partner = await house.connected(api_endpoint=partner_api.url)
        await house.configured(partner, paging=Paging(style=style, param="page", size_param="limit"))
        job = await house.synced(partner, FULL)
        assert (job.status, job.error_class) == (JobStatus.FAILED, "config")
        assert "would never end" in (job.error_message or "")
        assert len(partner_api.heard) < 40


async def test_a_backend_that_is_away_is_waited_for(house: House):
    job = await house.started(await house.connected(), FULL)
    house.xano.put(root(house, "/_devstack/faults"), json={"connection_lost": True}).raise_for_status()
    try:
        job = await house.worked(job)
        assert standing(job) == ("running", "transient")
    finally:
        house.xano.delete(root(house, "/_devstack/faults")).raise_for_status()
    house.clock.forward(seconds=30)
    assert standing(await house.worked(job)) == ("completed", None)


def root(house: House, path: str) -> str:
    base = str(house.xano.base_url)
    return base[: base.index("/api:")] + path


async def test_a_write_whose_answer_was_lost_counts_once(house: House):
    partner = await house.connected()
    job = await house.started(partner, FULL)
    house.xano.put(root(house, "/_devstack/faults"), json={"drop_after_commit": True, "times": 1}).raise_for_status()
    job = await house.worked(job)
    assert (standing(job), job.records_processed, len(house.rows(partner))) == (("running", "transient"), 0, 60)
    house.clock.forward(seconds=30)
    done = await house.worked(job)
    assert (done.status, done.records_processed, done.records_changed) == (JobStatus.COMPLETED, 60, 60)
    assert len(house.rows(partner)) == 60


async def test_a_late_worker_writes_nothing_to_the_backend(house: House):
    """The fence is checked where the write lands, too."""
    partner = await house.connected()
    await house.synced(partner, FULL)
    late = Shelf(partner_id=partner.partner_id, resource="orders", fence=0, request_id="late")
    landing = house.gateway.sync_runner.tools.landing
    with pytest.raises(StaleFence):
        await landing.upsert(late, [{"external_id": "1", "number": "late"}])
    with pytest.raises(StaleFence):
        await landing.delete(late, ["1"])
    assert house.rows(partner)["1"]["number"] == "ORD-0000001"


async def test_a_cancelled_job_stops_within_a_page(house: House):
    partner = await house.connected()
    await house.configured(partner, paging=Paging(size=5))
    house.shop.misbehaves(latency_ms=100)
    job = await house.started(partner, FULL)
    running = asyncio.create_task(house.gateway.sync_runner.run())
    while (await house.job(job.job_id)).records_processed == 0:
        await asyncio.sleep(0.02)
    cancelled = await house.gateway.sync_jobs.cancel(OPERATOR, job.job_id)
    await asyncio.wait_for(running, 2)
    after = await house.job(job.job_id)
    assert (after.status, after.records_processed) == (JobStatus.CANCELLED, cancelled.records_processed)
    asked = len(house.shop.asked())
    house.clock.forward(hours=1)
    await house.gateway.sync_runner.run()
    assert len(house.shop.asked()) == asked < 12
    assert len(house.rows(partner)) <= after.records_processed + 5


async def test_a_suspended_partner_is_left_alone(house: House):
    partner = await house.connected()
    job = await house.started(partner, FULL)
    await house.gateway.partners.move(OPERATOR, partner.partner_id, PartnerMove.SUSPEND)
    assert standing(await house.worked(job)) == ("failed", "config")
    assert house.shop.asked() == []
    with pytest.raises(errors.Conflict):
        await house.started(partner, FULL)


async def test_the_jobs_of_a_removed_partner_are_cancelled(house: House):
    partner = await house.connected()
    job = await house.started(partner, FULL)
    await house.gateway.partners.remove(OPERATOR, partner.partner_id)
    assert (await house.worked(job)).status is JobStatus.CANCELLED


async def test_a_source_that_fails_again_and_again_for_days_is_switched_off(house: House):
    partner = await house.connected()
    await house.configured(partner, every=60)
    house.shop.misbehaves(status=401)
    for _ in range(3):
        assert (await house.source(partner)).disabled_at is None
        await house.synced(partner, FULL)
    assert (await house.source(partner)).disabled_at is None  # often, but not for long
    house.clock.forward(days=2)
    await house.synced(partner, FULL)
    source = await house.source(partner)
    assert (source.streak, source.disabled_at is not None) == (4, True)
    with pytest.raises(errors.Conflict):
        await house.started(partner, FULL)
    assert await house.gateway.sync_sources.dispatch() == 0
    async with house.gateway.store.reading() as reading:
        entries = await reading.audit.list(AuditFilter(event_type="sync.disabled"), Page())
        assert [entry.partner_id for entry in entries.items] == [partner.partner_id]
        backlog = await reading.outbox.backlog()
    assert backlog["owed"] >= 1
    house.shop.behaves()
    await house.configured(partner, every=60)
    assert standing(await house.synced(partner, CHANGES)) == ("completed", None)
    assert (await house.source(partner)).streak == 0


async def test_a_failing_source_is_asked_ever_more_rarely(house: House):
    partner = await house.connected()
    await house.configured(partner, every=60)
    house.shop.misbehaves(status=401)
    waits: list[int] = []
    for _ in range(3):
        await house.synced(partner, FULL)
        source = await house.source(partner)
        assert source.next_run_at
        waits.append(round((source.next_run_at - house.clock()).total_seconds()))
    assert waits == [120, 240, 480]


async def test_a_job_that_kills_its_workers_ends(house: House):
    job = await house.started(await house.connected(), FULL)
    for _ in range(20):
        async with house.gateway.store.transaction() as transaction:
            assert await transaction.jobs.claim(house.clock(), house.gateway.sync_runner.tools.lease)
        house.clock.forward(hours=1)
    assert standing(await house.worked(job)) == ("failed", "system")


async def test_a_run_ends_when_its_time_is_up_and_the_next_goes_on(house: House):
    partner = await house.connected()
    await house.configured(partner, paging=Paging(size=5))
    job = await house.started(partner, FULL)
    runner = house.gateway.sync_runner
    short = replace(runner, limits=replace(runner.limits, slice_seconds=0.05))
    runs = 0
    while job.status.active:
        await short.run()
        job, runs = await house.job(job.job_id), runs + 1
    assert runs > 2
    assert (standing(job), job.records_processed) == (("completed", None), 60)
    assert job.error_class is not ErrorClass.TRANSIENT


async def test_twenty_runners_at_once_work_a_job_once(house: House):
    partner = await house.connected()
    job = await house.started(partner, FULL)
    worked = await asyncio.gather(*(house.gateway.sync_runner.run() for _ in range(20)))
    assert sorted(worked) == [0] * 19 + [1]
    done = await house.job(job.job_id)
    assert (standing(done), done.records_processed) == (("completed", None), 60)
