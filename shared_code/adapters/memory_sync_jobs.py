"""Sync jobs in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code.adapters.memory_rows import Row, View, listing, wanted
from shared_code.model import Job, JobStatus, JobType, Leave, Listing, Page, Partner, Step
from shared_code.ports import JobFilter

type Place = tuple[UUID, JobType, str | None]


@dataclass(frozen=True, slots=True)
class MemorySyncJobs:
    jobs: View[UUID, Job]
    latest: View[Place, UUID]
    """The latest job of each partner, type and resource: no other of them can be active."""
    fences: View[int, bool]
    partners: View[UUID, Partner]

    async def add(self, job: Job) -> bool:
        self.partners.require(job.partner_id)
        place = (job.partner_id, job.job_type, job.resource)
        before = await self.latest.lock(place)
        known = await self.jobs.lock(before) if before else None
        if known and known.status.active:
            return False
        if before is None:
            await self.latest.insert(place, job.job_id)
        else:
            self.latest.put(place, job.job_id)
        await self.jobs.add(job.job_id, job)
        return True

    async def get(self, job_id: UUID) -> Job | None:
        return self.jobs.get(job_id)

    async def active(self, partner_id: UUID, job_type: JobType, resource: str | None) -> Job | None:
        job_id = self.latest.get((partner_id, job_type, resource))
        job = self.jobs.get(job_id) if job_id else None
        return job if job and job.status.active else None

    async def list(self, wanted: JobFilter, page: Page) -> Listing[Job]:
        return listing((row for row in self.jobs.rows() if passes(wanted, row.record)), page)

    async def claim(self, now: datetime, lease: timedelta) -> Job | None:
        active = [row for row in self.jobs.rows() if row.record.status.active]
        first = oldest(active)
        for row in sorted(active, key=lambda row: (row.record.not_before, row.number)):
            job = row.record
            free = job.not_before <= now and (job.lease_until is None or job.lease_until < now)
            in_turn = job.resource is None or first[job.partner_id, job.resource] == row.number
            if free and in_turn and self.jobs.take(job.job_id):
                return self._claimed(job, now, now + lease)
        return None

    def _claimed(self, job: Job, now: datetime, until: datetime) -> Job:
        claimed = replace(
            job,
            status=JobStatus.RUNNING,
            fence=self.fences.append(lambda _: True),
            attempt=job.attempt + 1,
            lease_until=until,
            started_at=job.started_at or now,
        )
        self.jobs.put(job.job_id, claimed)
        return claimed

    async def beat(self, job: Job, until: datetime) -> bool:
        held = await self._held(job)
        if held:
            self.jobs.put(job.job_id, replace(held, lease_until=until))
        return held is not None

    async def advance(self, job: Job, step: Step, until: datetime) -> Job | None:
        held = await self._held(job)
        if held is None:
            return None
        after = replace(
            held,
            records_processed=held.records_processed + step.processed,
            records_failed=held.records_failed + step.failed,
            records_changed=held.records_changed + step.changed,
            records_deleted=held.records_deleted + step.deleted,
            records_total=held.records_total if step.total is None else step.total,
            progress_percent=round(step.progress_percent, 2),
            checkpoint=step.checkpoint,
            attempt=0,
            error_class=None,
            error_message=None,
            lease_until=until,
        )
        self.jobs.put(job.job_id, after)
        return self.jobs.get(job.job_id)

    async def leave(self, job: Job, leave: Leave, now: datetime) -> bool:
        held = await self._held(job)
        if held is None:
            return False
        done = leave.status is JobStatus.COMPLETED
        after = replace(
            held,
            status=leave.status,
            not_before=leave.not_before,
            lease_until=None,
            attempt=0 if leave.progressed else held.attempt,
            error_class=leave.error_class,
            error_message=leave.error_message,
            completed_at=None if leave.status.active else now,
            progress_percent=100.0 if done else held.progress_percent,
            records_total=held.records_processed if done else held.records_total,
        )
        self.jobs.put(job.job_id, after)
        return True

    async def _held(self, job: Job) -> Job | None:
        """The job, if it is this claim's still."""
        known = await self.jobs.lock(job.job_id)
        return known if known and known.status is JobStatus.RUNNING and known.fence == job.fence else None

    async def cancel(self, job_id: UUID, now: datetime) -> bool:
        job = await self.jobs.lock(job_id)
        if job is None or not job.status.active:
            return False
        self.jobs.put(job_id, replace(job, status=JobStatus.CANCELLED, completed_at=now, lease_until=None))
        return True

    async def cancel_all(self, partner_id: UUID, now: datetime) -> int:
        mine = [row.record.job_id for row in self.jobs.rows() if row.record.partner_id == partner_id]
        return sum([await self.cancel(job_id, now) for job_id in mine])


def oldest(active: list[Row[Job]]) -> Mapping[tuple[UUID, str | None], int]:
    """The number of the first active job of each partner's resource."""
    first: dict[tuple[UUID, str | None], int] = {}
    for row in sorted(active, key=lambda row: row.number):
        first.setdefault((row.record.partner_id, row.record.resource), row.number)
    return first


def passes(asked: JobFilter, job: Job) -> bool:
    return wanted(
        (asked.partner_id, job.partner_id),
        (asked.status, job.status),
        (asked.job_type, job.job_type),
        (asked.resource, job.resource),
    )
