"""What the audit trail is told of syncs."""

from shared_code.model import Job, Severity, Source
from shared_code.ports import SyncFailed
from shared_code.services.audit import Fact


def name_of(job: Job) -> str:
    return f"{job.job_type.value} of {job.resource}" if job.resource else job.job_type.value


def started_fact(job: Job) -> Fact:
    return Fact(
        event_type="sync.started",
        message=f"A {name_of(job)} was started.",
        target=str(job.job_id),
        partner_id=job.partner_id,
    )


def cancelled_fact(job: Job) -> Fact:
    return Fact(
        event_type="sync.cancelled",
        message=f"A {name_of(job)} was cancelled.",
        target=str(job.job_id),
        partner_id=job.partner_id,
    )


def completed_fact(job: Job) -> Fact:
    return Fact(
        event_type="sync.completed",
        message=f"A {name_of(job)} is completed.",
        target=str(job.job_id),
        partner_id=job.partner_id,
        changes={
            "processed": job.records_processed,
            "changed": job.records_changed,
            "deleted": job.records_deleted,
            "failed": job.records_failed,
        },
    )


def failed_fact(job: Job, failure: SyncFailed) -> Fact:
    return Fact(
        event_type="sync.failed",
        severity=Severity.WARNING,
        message=f"A {name_of(job)} failed: {failure.message}",
        target=str(job.job_id),
        partner_id=job.partner_id,
        changes={"error_class": failure.error_class.value, "processed": job.records_processed},
    )


def disabled_fact(source: Source) -> Fact:
    return Fact(
        event_type="sync.disabled",
        severity=Severity.ERROR,
        message=f"The syncs of {source.resource} failed {source.streak} times in a row and are switched off.",
        target=source.resource,
        partner_id=source.partner_id,
        changes={"failing_since": source.failing_since.isoformat() if source.failing_since else None},
    )


def configured_fact(source: Source) -> Fact:
    return Fact(
        event_type="sync.configured",
        message=f"How {source.resource} is read was set.",
        target=source.resource,
        partner_id=source.partner_id,
        changes={"connector": source.reading.connector, "path": source.reading.path},
    )


def unconfigured_fact(source: Source) -> Fact:
    return Fact(
        event_type="sync.unconfigured",
        message=f"How {source.resource} is read was forgotten.",
        target=source.resource,
        partner_id=source.partner_id,
    )
