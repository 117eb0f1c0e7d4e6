"""Sync jobs as their owners see them: started, read, cancelled. The runner does the work."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from shared_code import errors
from shared_code.model import Caller, Job, JobType, Listing, Page, Partner, PartnerStatus, Quarantined, Reading, Source
from shared_code.ports import Clock, JobFilter, Store, Transaction
from shared_code.services.audit import note
from shared_code.services.sync_notes import cancelled_fact, started_fact


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    job_type: JobType
    resource: str | None = None
    partner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class SyncJobService:
    store: Store
    now: Clock
    resources: frozenset[str]

    async def start(self, caller: Caller, wanted: NewJob) -> Job:
        """Raises Conflict, naming the running one, when the partner has an active job of this type and resource."""
        partner_id, now = caller.target(wanted.partner_id), self.now()
        check_resource(wanted.job_type, wanted.resource, self.resources)
        job = Job(
            job_id=uuid4(),
            partner_id=partner_id,
            job_type=wanted.job_type,
            resource=wanted.resource,
            not_before=now,
            created_by=caller.actor,
            request_id=caller.origin.request_id,
            created_at=now,
        )
        async with self.store.transaction() as transaction:
            check_partner(await transaction.partners.get(partner_id), wanted.job_type)
            if wanted.resource:
                await readied(transaction, partner_id, wanted.resource, now)
            if not await transaction.jobs.add(job):
                raise running(await transaction.jobs.active(partner_id, wanted.job_type, wanted.resource))
            await note(transaction, caller, started_fact(job), now)
        return job

    async def get(self, caller: Caller, job_id: UUID) -> Job:
        async with self.store.reading() as reading:
            job = await reading.jobs.get(job_id)
        if job is None:
            raise errors.NotFound()
        caller.reach(job.partner_id)
        return job

    async def list(self, wanted: JobFilter, page: Page) -> Listing[Job]:
        async with self.store.reading() as reading:
            return await reading.jobs.list(wanted, page)

    async def cancel(self, caller: Caller, job_id: UUID) -> Job:
        """Its worker stops within a page. Cancelled twice is cancelled; one that has ended otherwise is a Conflict."""
        job, now = await self.get(caller, job_id), self.now()
        async with self.store.transaction() as transaction:
            if await transaction.jobs.cancel(job_id, now):
                await note(transaction, caller, cancelled_fact(job), now)
            job = await transaction.jobs.get(job_id) or job
        if job.status.ended_otherwise:
            raise errors.Conflict(f"The job is {job.status.value} already.")
        return job

    async def quarantined(self, caller: Caller, job_id: UUID, page: Page) -> Listing[Quarantined]:
        await self.get(caller, job_id)
        async with self.store.reading() as reading:
            return await reading.records.quarantined(job_id, page)


def check_resource(job_type: JobType, resource: str | None, known: frozenset[str]) -> None:
    detail = None
    if job_type is JobType.WEBHOOK_RETRY and resource is not None:
        detail = "A webhook_retry has no resource."
    elif job_type is not JobType.WEBHOOK_RETRY and resource is None:
        detail = "A sync needs the resource to sync."
    elif resource is not None and resource not in known:
        detail = f"Unknown resource; known are {', '.join(sorted(known))}."
    if detail:
        raise errors.InvalidBody(violations=[errors.Violation(pointer="/resource", detail=detail)])


def check_partner(partner: Partner | None, job_type: JobType) -> None:
    if partner is None or partner.deleted_at:
        raise errors.NotFound("There is no such partner.")
    if partner.status not in (PartnerStatus.ACTIVE, PartnerStatus.PENDING):
        raise errors.Conflict(f"The partner is {partner.status.value}; nothing is synced.")
    if job_type is not JobType.WEBHOOK_RETRY and not partner.api_endpoint:
        raise errors.Conflict("The partner has no api_endpoint to read from.")


async def readied(transaction: Transaction, partner_id: UUID, resource: str, now: datetime) -> None:
    """A source that nobody configured is read as most APIs can be: see `Reading`."""
    source = await transaction.sources.get(partner_id, resource)
    if source is None:
        made = Source(
            partner_id=partner_id, resource=resource, reading=Reading(path=resource), created_at=now, updated_at=now
        )
        await transaction.sources.put(made)
    elif source.disabled_at:
        raise errors.Conflict("This sync was switched off after many failures; configure it anew to switch it on.")


def running(job: Job | None) -> errors.Conflict:
    if job is None:  # it ended between the two looks
        return errors.Conflict("Such a job has just ended; try again.")
    return errors.Conflict(
        "The partner has an active job of this type and resource.",
        headers={"Location": f"/api/sync/jobs/{job.job_id}"},
        members={"job_id": str(job.job_id)},
    )
