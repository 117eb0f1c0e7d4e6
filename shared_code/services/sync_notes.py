"""What the audit trail is told of syncs."""

from collections.abc import Mapping
from dataclasses import replace

from shared_code.model import Job, Severity, Source
from shared_code.ports import SyncFailed
from shared_code.services.audit import Fact


def name_of(job: Job) -> str:
    return f"{job.job_type.value} of {job.resource}" if job.resource else job.job_type.value


def started_fact(job: Job) -> Fact:
    return job_fact(job, "sync.started", f"A {name_of(job)} was started.")


def cancelled_fact(job: Job) -> Fact:
    return job_fact(job, "sync.cancelled", f"A {name_of(job)} was cancelled.")


def completed_fact(job: Job) -> Fact:
    counts = {
        "processed": job.records_processed,
        "changed": job.records_changed,
        "deleted": job.records_deleted,
        "failed": job.records_failed,
    }
    return job_fact(job, "sync.completed", f"A {name_of(job)} is completed.", counts)


def failed_fact(job: Job, failure: SyncFailed) -> Fact:
    changes = {"error_class": failure.error_class.value, "processed": job.records_processed}
    fact = job_fact(job, "sync.failed", f"A {name_of(job)} failed: {failure.message}", changes)
    return replace(fact, severity=Severity.WARNING)


def job_fact(job: Job, event_type: str, message: str, changes: Mapping[str, object] | None = None) -> Fact:
    return Fact(
        event_type=event_type, message=message, target=str(job.job_id), partner_id=job.partner_id, changes=changes
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
