"""Sync jobs: started, watched, cancelled (contract §3 Sync)."""

from typing import Any
from uuid import UUID

import azure.functions as func
from pydantic import Field

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import AnswerBody, ListAnswer, Moment, PageQuery, RequestBody
from shared_code.model import ErrorClass, JobStatus, JobType
from shared_code.ports import JobFilter
from shared_code.services.sync_jobs import NewJob

bp = func.Blueprint()


class JobBody(RequestBody):
    job_type: JobType = Field(strict=False)
    resource: str | None = Field(
        default=None, max_length=64, description="Which resource to sync; a webhook_retry has none."
    )
    partner_id: UUID | None = Field(default=None, description="For an admin: the partner to sync.")


class JobAnswer(AnswerBody):
    job_id: UUID
    partner_id: UUID
    job_type: JobType
    resource: str | None
    status: JobStatus
    progress_percent: float
    records_processed: int = Field(description="Read and dealt with, those that failed among them.")
    records_total: int | None = Field(description="As the partner says; null until it has said.")
    records_failed: int = Field(description="Could not land; see the job's quarantine.")
    records_changed: int = Field(description="New, or other than they were.")
    records_deleted: int
    error_message: str | None
    error_class: ErrorClass | None
    waiting_until: Moment | None = Field(description="When it goes on, while nobody works on it.")
    request_id: str | None
    created_by: str
    started_at: Moment | None
    completed_at: Moment | None
    created_at: Moment


class JobsAnswer(ListAnswer):
    jobs: list[JobAnswer]


class JobsQuery(PageQuery):
    status: JobStatus | None = None
    job_type: JobType | None = None
    resource: str | None = Field(default=None, max_length=64)
    partner_id: UUID | None = Field(default=None, description="For an admin: only this partner's.")


class QuarantinedAnswer(AnswerBody):
    key: str | None = Field(description="Null when not even that could be read.")
    reason: str
    record: Any = Field(description="As the partner gave it, or as the backend refused it.")
    created_at: Moment


class QuarantineAnswer(ListAnswer):
    records: list[QuarantinedAnswer]


@endpoint(
    bp,
    "POST",
    "api/sync/jobs",
    access=Access.KEY,
    tag="Sync",
    body=JobBody,
    answer=JobAnswer,
    status=202,
    once=True,
)
async def sync_jobs_start(call: Call[JobBody]) -> Reply:
    """Start a sync, or send failed deliveries again. One at a time of each partner, type and resource."""
    body = call.body
    wanted = NewJob(job_type=body.job_type, resource=body.resource, partner_id=body.partner_id)
    job = await call.gateway.sync_jobs.start(call.caller, wanted)
    return Reply(status=202, model=JobAnswer.of(job), headers={"Location": f"/api/sync/jobs/{job.job_id}"})


@endpoint(bp, "GET", "api/sync/jobs", access=Access.KEY, tag="Sync", query=JobsQuery, answer=JobsAnswer)
async def sync_jobs_list(call: Call[Nothing, JobsQuery]) -> Reply:
    """Sync jobs, newest first."""
    query, page = call.query, call.query.page()
    wanted = JobFilter(
        partner_id=call.caller.reach(query.partner_id) if query.partner_id else call.caller.own(),
        status=query.status,
        job_type=query.job_type,
        resource=query.resource,
    )
    found = await call.gateway.sync_jobs.list(wanted, page)
    return Reply(model=JobsAnswer.listing("jobs", found, page, JobAnswer.of))


@endpoint(bp, "GET", "api/sync/jobs/{job_id}", access=Access.KEY, tag="Sync", answer=JobAnswer)
async def sync_jobs_get(call: Call) -> Reply:
    """One job, and how far it is."""
    return Reply(model=JobAnswer.of(await call.gateway.sync_jobs.get(call.caller, call.request.uuid("job_id"))))


@endpoint(bp, "POST", "api/sync/jobs/{job_id}/cancel", access=Access.KEY, tag="Sync", answer=JobAnswer, once=True)
async def sync_jobs_cancel(call: Call) -> Reply:
    """Cancel a job. It stops within a page and does not come back; what has landed stays."""
    return Reply(model=JobAnswer.of(await call.gateway.sync_jobs.cancel(call.caller, call.request.uuid("job_id"))))


@endpoint(
    bp,
    "GET",
    "api/sync/jobs/{job_id}/quarantine",
    access=Access.KEY,
    tag="Sync",
    query=PageQuery,
    answer=QuarantineAnswer,
)
async def sync_jobs_quarantine(call: Call[Nothing, PageQuery]) -> Reply:
    """The records that could not land, and why."""
    page = call.query.page()
    found = await call.gateway.sync_jobs.quarantined(call.caller, call.request.uuid("job_id"), page)
    return Reply(model=QuarantineAnswer.listing("records", found, page, QuarantinedAnswer.of))
