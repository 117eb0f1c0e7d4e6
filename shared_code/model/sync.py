"""Syncs: jobs, the sources they read, and what each step of a job adds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID

from shared_code.model.records import Json


class JobType(StrEnum):
    FULL_SYNC = "full_sync"
    INCREMENTAL_SYNC = "incremental_sync"
    WEBHOOK_RETRY = "webhook_retry"


class JobStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def active(self) -> bool:
        return self in (JobStatus.PENDING, JobStatus.RUNNING)

    @property
    def ended_otherwise(self) -> bool:
        """Not by being cancelled."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED)


class ErrorClass(StrEnum):
    """What kind of failure ended a job, and so who must act: CONFIG and AUTH the operator, SYSTEM the developer."""

    CONFIG = "config"
    AUTH = "auth"
    TRANSIENT = "transient"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run. Whoever claims it gets a higher `fence`; what is written under an older one changes nothing."""

    job_id: UUID
    partner_id: UUID
    job_type: JobType
    resource: str | None
    status: JobStatus = JobStatus.PENDING
    progress_percent: float = 0.0
    records_processed: int = 0
    """Records that were read and dealt with: those that landed, and those that failed."""
    records_total: int | None = None
    records_failed: int = 0
    """Of those processed: set aside in quarantine."""
    records_changed: int = 0
    """Of those processed: new, or other than they were."""
    records_deleted: int = 0
    error_message: str | None = None
    error_class: ErrorClass | None = None
    not_before: datetime
    attempt: int = 0
    """Claims in a row that led to no step."""
    fence: int = 0
    lease_until: datetime | None = None
    checkpoint: Json = field(default_factory=dict[str, object])
    created_by: str
    request_id: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    created_at: datetime

    @property
    def waiting_until(self) -> datetime | None:
        """When it goes on, if nobody works on it now."""
        return self.not_before if self.status.active and self.lease_until is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of a job did, and where the next one begins."""

    checkpoint: Json
    progress_percent: float
    processed: int = 0
    failed: int = 0
    changed: int = 0
    deleted: int = 0
    total: int | None = None
    """None: as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """How a worker lets go of a job: it ends, or waits until `not_before`."""

    status: JobStatus = JobStatus.RUNNING
    not_before: datetime
    progressed: bool = True
    """It waits for no fault of its own: the attempts in a row begin anew."""
    error_class: ErrorClass | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A record that could not land, and why."""

    quarantine_id: UUID
    job_id: UUID
    key: str | None
    """None: not even that could be read."""
    reason: str
    record: object
    created_at: datetime


class PagingStyle(StrEnum):
    PAGE = "page"
    OFFSET = "offset"
    CURSOR = "cursor"
    LINK = "link"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    style: PagingStyle = PagingStyle.CURSOR
    size: int = 1000
    size_param: str = "limit"
    param: str = "cursor"
    """The query parameter that says which page: its number, its offset, or its cursor."""
    next: str = "next_cursor"
    """Where in the answer the next cursor stands."""


class CursorKind(StrEnum):
    TIME = "time"
    NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorRule:
    """How changes are asked for. The boundary is inclusive: what was read at the last cursor is read again."""

    field: str = "updated_at"
    param: str = "updated_since"
    kind: CursorKind = CursorKind.TIME
    lag_seconds: int = 0
    """Asked for again from so long before: for partners whose changes show up late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one resource of a partner is read. Names of members may be paths with dots: `data.orders`."""

    connector: str = "rest"
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sent with every request."""
    paging: Paging = field(default_factory=Paging)
    items: str = "data"
    """Where the records stand in an answer; empty: the answer is the list."""
    total: str = "total"
    key: str = "id"
    """The natural key of a record."""
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    """Ours → theirs; empty: every member as it is."""
    cursor: CursorRule | None = field(default_factory=CursorRule)
    """None: the partner cannot tell what changed, and every sync reads everything."""
    delete_missing: bool = True
    """What a full sync does not find any more is deleted."""
    full_every_seconds: int | None = None
    """How often a scheduled sync is a full one; None: only the first."""
    publish: Mapping[str, str] = field(default_factory=dict[str, str])
    """`created`, `updated`, `deleted` → the event type to publish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A resource of a partner: how it is read, when, and how far it has been read."""

    partner_id: UUID
    resource: str
    reading: Reading
    schedule_seconds: int | None = None
    next_run_at: datetime | None = None
    cursor: str | None = None
    validators: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the last answer, if it was all there was: `query`, `etag`, `last_modified`."""
    last_full_at: datetime | None = None
    streak: int = 0
    """Failed jobs in a row."""
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    created_at: datetime
    updated_at: datetime

    def scheduled_type(self, now: datetime) -> JobType:
        """A full sync first, and then as often as was asked for."""
        every = self.reading.full_every_seconds
        due = every is not None and (self.last_full_at is None or self.last_full_at + timedelta(seconds=every) <= now)
        incremental = self.reading.cursor is not None and self.cursor is not None and not due
        return JobType.INCREMENTAL_SYNC if incremental else JobType.FULL_SYNC

    def disabled(self, now: datetime) -> Self:
        return replace(self, disabled_at=now)

    def next_after(self, now: datetime) -> datetime | None:
        """One that fails is tried ever more rarely, up to sixteen times its interval."""
        if self.schedule_seconds is None:
            return None
        return now + timedelta(seconds=self.schedule_seconds * 2 ** min(self.streak, 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A record as a sync saw it. `hash` is of what landed."""

    key: str
    hash: bytes
