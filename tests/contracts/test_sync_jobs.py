"""ports.SyncJobs: one active job of a kind, one claim of each, and a fence that shuts late workers out."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared_code import errors
from shared_code.model import ErrorClass, Job, JobStatus, JobType, Leave, Page, Step
from shared_code.ports import JobFilter, Store
from tests.contracts.acting import at_once, by_cursor, nothing, stored_partner, undone, within
from tests.contracts.samples import MINUTE, NOW, SECOND

LEASE = MINUTE


def new_job(partner_id: UUID, **changes: Any) -> Job:
    job = Job(
        job_id=uuid4(),
        partner_id=partner_id,
        job_type=JobType.FULL_SYNC,
        resource="orders",
        not_before=NOW,
        created_by="pk_live_house",
        request_id="req-1",
        created_at=NOW,
    )
    return replace(job, **changes)


def new_step(**changes: Any) -> Step:
    step = Step(
        checkpoint={"position": {"cursor": "abc"}, "read": 100},
        progress_percent=12.5,
        processed=100,
        failed=2,
        changed=40,
        deleted=1,
        total=800,
    )
    return replace(step, **changes)


async def added(store: Store, *jobs: Job) -> list[bool]:
    async with store.transaction() as transaction:
        return [await transaction.jobs.add(job) for job in jobs]


async def added_job(store: Store, **changes: Any) -> Job:
    job = new_job((await stored_partner(store)).partner_id, **changes)
    assert await added(store, job) == [True]
    return job


async def claimed(store: Store, now: datetime = NOW) -> Job | None:
    return await within(store, lambda transaction: transaction.jobs.claim(now, LEASE))


async def held(store: Store, **changes: Any) -> Job:
    await added_job(store, **changes)
    job = await claimed(store)
    assert job
    return job


async def advanced(store: Store, job: Job, step: Step, until: datetime = NOW + LEASE) -> Job | None:
    return await within(store, lambda transaction: transaction.jobs.advance(job, step, until))


async def left(store: Store, job: Job, leave: Leave, now: datetime = NOW) -> bool:
    return await within(store, lambda transaction: transaction.jobs.leave(job, leave, now))


async def known(store: Store, job: Job) -> Job:
    async with store.reading() as reading:
        found = await reading.jobs.get(job.job_id)
    assert found
    return found


async def test_a_job_is_found_as_it_was_added(store: Store):
    job = await added_job(store)
    assert await known(store, job) == job
    async with store.reading() as reading:
        assert await reading.jobs.active(job.partner_id, job.job_type, "orders") == job
        assert await reading.jobs.active(job.partner_id, job.job_type, "inventory") is None
        assert await reading.jobs.get(uuid4()) is None


async def test_a_job_of_nobody_is_refused(store: Store):
    with pytest.raises(errors.NotFound):
        await added(store, new_job(uuid4()))


async def test_of_a_partner_type_and_resource_one_is_active(store: Store):
    job = await added_job(store)
    retry = replace(job, job_id=uuid4(), job_type=JobType.WEBHOOK_RETRY, resource=None)
    assert await added(store, replace(job, job_id=uuid4())) == [False]
    assert await added(store, replace(job, job_id=uuid4(), resource="inventory")) == [True]
    assert await added(store, replace(job, job_id=uuid4(), job_type=JobType.INCREMENTAL_SYNC)) == [True]
    assert await added(store, retry) == [True]
    assert await added(store, replace(retry, job_id=uuid4())) == [False]
    assert await within(store, lambda transaction: transaction.jobs.cancel(job.job_id, NOW))
    assert await added(store, replace(job, job_id=uuid4())) == [True]


async def test_of_twenty_starts_at_once_one_is_added(store: Store):
    partner = await stored_partner(store)
    starts = await at_once(store, 20, lambda transaction: transaction.jobs.add(new_job(partner.partner_id)))
    assert sorted(starts) == [False] * 19 + [True]


async def test_of_twenty_claims_at_once_one_gets_it(store: Store):
    job = await added_job(store)
    claims = await at_once(store, 20, lambda transaction: transaction.jobs.claim(NOW, LEASE))
    (mine,) = [claim for claim in claims if claim]
    assert (mine.job_id, mine.status, mine.attempt) == (job.job_id, JobStatus.RUNNING, 1)
    assert (mine.started_at, mine.lease_until) == (NOW, NOW + LEASE)


async def test_a_claim_that_is_rolled_back_is_no_claim(store: Store):
    await added_job(store)
    async with undone(store) as transaction:
        assert await transaction.jobs.claim(NOW, LEASE)
    assert await claimed(store)


async def test_a_job_waits_for_its_time_and_for_the_lease_of_another(store: Store):
    await added_job(store, not_before=NOW + SECOND)
    assert await claimed(store) is None
    assert await claimed(store, NOW + SECOND)
    assert await claimed(store, NOW + SECOND + LEASE) is None
    assert await claimed(store, NOW + SECOND + LEASE + SECOND)


async def test_each_claim_has_a_higher_fence(store: Store):
    first = await held(store)
    second = await claimed(store, NOW + 2 * LEASE)
    assert second
    assert second.fence > first.fence
    assert (second.attempt, second.started_at) == (2, NOW)


async def test_a_worker_that_lost_its_job_changes_nothing(store: Store):
    late = await held(store)
    mine = await claimed(store, NOW + 2 * LEASE)
    assert mine
    assert await advanced(store, late, new_step()) is None
    assert not await left(store, late, Leave(status=JobStatus.COMPLETED, not_before=NOW))
    assert not await within(store, lambda transaction: transaction.jobs.beat(late, NOW + 9 * LEASE))
    assert await known(store, mine) == mine


async def test_steps_add_up_and_begin_the_attempts_anew(store: Store):
    job = await held(store)
    first = await advanced(store, job, new_step())
    assert first
    second = await advanced(store, first, new_step(total=None, progress_percent=25.0), NOW + 2 * LEASE)
    assert second == await known(store, job)
    assert second
    counts = (second.records_processed, second.records_failed, second.records_changed, second.records_deleted)
    assert (counts, second.records_total, second.progress_percent) == ((200, 4, 80, 2), 800, 25.0)
    assert (second.checkpoint, second.attempt) == (new_step().checkpoint, 0)
    assert second.lease_until == NOW + 2 * LEASE


async def test_a_heartbeat_holds_a_job_longer(store: Store):
    job = await held(store)
    assert await within(store, lambda transaction: transaction.jobs.beat(job, NOW + 3 * LEASE))
    assert await claimed(store, NOW + 2 * LEASE) is None


async def test_a_job_that_is_left_to_wait_goes_on_later(store: Store):
    job = await held(store)
    waits = Leave(
        not_before=NOW + SECOND, progressed=False, error_class=ErrorClass.TRANSIENT, error_message="It answers 500."
    )
    assert await left(store, job, waits)
    waiting = await known(store, job)
    assert (waiting.status, waiting.attempt, waiting.waiting_until) == (JobStatus.RUNNING, 1, NOW + SECOND)
    assert (waiting.error_class, waiting.error_message) == (ErrorClass.TRANSIENT, "It answers 500.")
    assert await claimed(store) is None
    again = await claimed(store, NOW + SECOND)
    assert again
    assert again.attempt == 2
    assert await left(store, again, Leave(not_before=NOW))
    assert (await known(store, job)).attempt == 0


async def test_a_completed_job_is_whole_and_has_ended(store: Store):
    job = await held(store)
    job = await advanced(store, job, new_step())
    assert job
    assert await left(store, job, Leave(status=JobStatus.COMPLETED, not_before=NOW), NOW + SECOND)
    done = await known(store, job)
    assert (done.status, done.progress_percent, done.records_total) == (JobStatus.COMPLETED, 100.0, 100)
    assert (done.completed_at, done.waiting_until) == (NOW + SECOND, None)
    assert await claimed(store, NOW + 9 * LEASE) is None
    assert not await within(store, lambda transaction: transaction.jobs.cancel(job.job_id, NOW))


async def test_a_cancelled_job_does_not_come_back(store: Store):
    job = await held(store)
    assert await within(store, lambda transaction: transaction.jobs.cancel(job.job_id, NOW + SECOND))
    assert await advanced(store, job, new_step()) is None
    assert not await left(store, job, Leave(not_before=NOW))
    assert await claimed(store, NOW + 9 * LEASE) is None
    cancelled = await known(store, job)
    assert (cancelled.status, cancelled.completed_at) == (JobStatus.CANCELLED, NOW + SECOND)


async def test_all_jobs_of_a_partner_are_cancelled_and_no_other(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    mine = [new_job(partner.partner_id), new_job(partner.partner_id, resource="inventory")]
    others = new_job(other.partner_id)
    assert await added(store, *mine, others) == [True] * 3
    assert await within(store, lambda transaction: transaction.jobs.cancel_all(partner.partner_id, NOW)) == 2
    assert [(await known(store, job)).status for job in (*mine, others)] == ["cancelled", "cancelled", "pending"]


async def test_of_a_partners_resource_the_oldest_goes_first_alone(store: Store):
    """Even while it waits: a full sync would take what an incremental one adds meanwhile for missing."""
    partner = await stored_partner(store)
    full = new_job(partner.partner_id, not_before=NOW + SECOND)
    changes = new_job(partner.partner_id, job_type=JobType.INCREMENTAL_SYNC)
    stock = new_job(partner.partner_id, resource="inventory")
    assert await added(store, full, changes, stock) == [True] * 3
    first = await claimed(store)
    assert first
    assert first.job_id == stock.job_id
    assert await claimed(store) is None
    second = await claimed(store, NOW + SECOND)
    assert second
    assert second.job_id == full.job_id
    assert await claimed(store, NOW + SECOND) is None
    assert await left(store, second, Leave(status=JobStatus.FAILED, not_before=NOW, error_class=ErrorClass.AUTH))
    third = await claimed(store, NOW + SECOND)
    assert third
    assert third.job_id == changes.job_id


async def test_a_list_has_what_was_asked_for_newest_first(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    jobs = [
        new_job(partner.partner_id, created_at=NOW + number * SECOND, not_before=NOW, resource=f"things{number}")
        for number in range(5)
    ]
    assert all(await added(store, *jobs, new_job(other.partner_id)))

    async def listed(page: Page):
        async with store.reading() as reading:
            return await reading.jobs.list(JobFilter(partner_id=partner.partner_id), page)

    assert [job.job_id for job in await by_cursor(listed, 2, nothing)] == [job.job_id for job in reversed(jobs)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (JobFilter(), 3),
        (JobFilter(status=JobStatus.PENDING), 3),
        (JobFilter(status=JobStatus.RUNNING), 0),
        (JobFilter(job_type=JobType.FULL_SYNC), 2),
        (JobFilter(resource="orders"), 2),
        (JobFilter(partner_id=UUID(int=1)), 0),
    ],
)
async def test_a_list_can_be_narrowed(store: Store, wanted: JobFilter, found: int):
    partner = await stored_partner(store)
    jobs = [
        new_job(partner.partner_id),
        new_job(partner.partner_id, resource="inventory"),
        new_job(partner.partner_id, job_type=JobType.INCREMENTAL_SYNC),
    ]
    assert all(await added(store, *jobs))
    async with store.reading() as reading:
        assert (await reading.jobs.list(wanted, Page())).total == found
