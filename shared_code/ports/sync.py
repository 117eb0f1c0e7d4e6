"""Syncs: the tables that keep them, the connectors that read partners, and the place where records land."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from shared_code.model import (
    ErrorClass,
    Job,
    JobStatus,
    JobType,
    Json,
    Leave,
    Listing,
    Page,
    Quarantined,
    Reading,
    Seen,
    Source,
    Step,
)
from shared_code.ports.backends import Forward, Returned


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    partner_id: UUID | None = None
    status: JobStatus | None = None
    job_type: JobType | None = None
    resource: str | None = None


class SyncJobs(Protocol):
    """What is done with a claimed job changes nothing, and says so, unless it runs under that claim's fence."""

    async def add(self, job: Job) -> bool:
        """False, and nothing is stored, if the partner has an active one of this type and resource."""
        ...

    async def get(self, job_id: UUID) -> Job | None: ...
    async def active(self, partner_id: UUID, job_type: JobType, resource: str | None) -> Job | None: ...
    async def list(self, wanted: JobFilter, page: Page) -> Listing[Job]: ...
    async def claim(self, now: datetime, lease: timedelta) -> Job | None:
        """An active job that is due and that nobody holds, now held until the lease ends, under a new fence.

        Of a partner's resource only the oldest active one: two syncs never write the same rows at once.
        """
        ...

    async def beat(self, job: Job, until: datetime) -> bool:
        """Holds it until then."""
        ...

    async def advance(self, job: Job, step: Step, until: datetime) -> Job | None:
        """Adds what a step did and holds the job until then. None: it is not this claim's any more."""
        ...

    async def leave(self, job: Job, leave: Leave, now: datetime) -> bool: ...
    async def cancel(self, job_id: UUID, now: datetime) -> bool:
        """False if it has ended already. Its worker learns of it at its next step."""
        ...

    async def cancel_all(self, partner_id: UUID, now: datetime) -> int: ...


class SyncSources(Protocol):
    async def get(self, partner_id: UUID, resource: str, *, lock: bool = False) -> Source | None: ...
    async def put(self, source: Source) -> None: ...
    async def remove(self, partner_id: UUID, resource: str) -> bool: ...
    async def list(self, partner_id: UUID) -> Sequence[Source]: ...
    async def due(self, now: datetime, limit: int) -> Sequence[Source]:
        """Scheduled ones whose time has come, locked until the transaction ends; locked ones are skipped."""
        ...


class SyncRecords(Protocol):
    """What each source has, by natural key; and what could not land."""

    async def known(self, partner_id: UUID, resource: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The hash of each of these that is known."""
        ...

    async def keep(self, partner_id: UUID, resource: str, job_id: UUID, seen: Sequence[Seen]) -> None:
        """Each key at most once."""
        ...

    async def touch(self, partner_id: UUID, resource: str, job_id: UUID, keys: Sequence[str]) -> None:
        """Known ones were seen, whatever became of them."""
        ...

    async def unseen(
        self, partner_id: UUID, resource: str, job_id: UUID, after: str, limit: int
    ) -> tuple[Sequence[str], str | None]:
        """Of the next `limit` keys after that one, those that this job has not seen; and the last key looked at."""
        ...

    async def forget(self, partner_id: UUID, resource: str, keys: Sequence[str]) -> None: ...
    async def quarantine(self, rows: Sequence[Quarantined]) -> None: ...
    async def quarantined(self, job_id: UUID, page: Page) -> Listing[Quarantined]: ...


class SyncFailed(Exception):
    """A sync cannot go on. The message is shown to the partner and the operator; it holds no secret."""

    def __init__(self, error_class: ErrorClass, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message
        self.retry_after = retry_after
        """Seconds that the other side asked for, for a transient one."""


class SyncWait(Exception):
    """The partner asks us to come back later: no failure."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"wait {seconds} s")
        self.seconds = seconds


type Get = Callable[[Forward], Awaitable[Returned]]
"""One request to the partner's API, with its credentials, behind the egress guard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAsk:
    """Which page of which records."""

    reading: Reading
    base: str
    """The partner's `api_endpoint`."""
    position: Json | None
    """`next` of the page before; None: the first."""
    since: str | None
    """Only what changed at or after this cursor; None: everything."""
    validators: Mapping[str, str] = field(default_factory=dict[str, str])
    hidden: frozenset[str] = frozenset()
    """Query parameters that carry credentials, or are sent anyway: never a part of a position, which is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """One page as the partner gave it."""

    records: Sequence[object]
    next: Json | None
    """None: this was the last."""
    total: int | None = None
    clock: datetime | None = None
    """The partner's own, when it answered."""
    validators: Mapping[str, str] = field(default_factory=dict[str, str])
    """For asking whether anything changed; only when this page is all there is."""
    unchanged: bool = False
    """Nothing changed since these validators."""


class Connector(Protocol):
    """Reads one kind of partner API. Raises SyncFailed and SyncWait, and what `get` raises."""

    async def fetch(self, get: Get, ask: PageAsk) -> Fetched: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where records land. A lower fence than one that was here already is refused."""

    partner_id: UUID
    resource: str
    fence: int
    request_id: str


class RecordsRefused(Exception):
    """The backend takes none of this batch; the text says why."""


class Landing(Protocol):
    """The business backend's side of a sync. Raises BackendUnavailable, SyncFailed, StaleFence; safe to repeat."""

    async def upsert(self, shelf: Shelf, records: Sequence[Json]) -> None:
        """By `external_id`, all or none: raises RecordsRefused if one of them breaks a rule."""
        ...

    async def delete(self, shelf: Shelf, keys: Sequence[str]) -> None: ...


class StaleFence(Exception):
    """Another worker has this job now; nothing was written."""
