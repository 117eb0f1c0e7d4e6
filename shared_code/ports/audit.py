"""The audit trail, and the archive that its old rows go to. The heads of the archive's chains stay with the trail."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from shared_code.model import AuditEntry, AuditLink, AuditRow, ChainHead, Listing, Page, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    partner_id: UUID | None = None
    severity: Severity | None = None
    event_type: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditTrail(Protocol):
    async def add(self, entry: AuditEntry) -> None: ...
    async def list(self, wanted: AuditFilter, page: Page) -> Listing[AuditEntry]: ...
    async def oldest(self, before: datetime, limit: int) -> Sequence[AuditRow]:
        """From before that time, oldest first."""
        ...

    async def remove(self, numbers: Sequence[int]) -> int:
        """Only rows that are in the archive leave. Answers how many were there."""
        ...

    async def held(self, numbers: Sequence[int]) -> Set[int]:
        """Those of these that are (still) here."""
        ...


class ChainHeads(Protocol):
    """The last link of each chain of the audit archive."""

    async def of(self, partitions: Iterable[str]) -> Mapping[str, ChainHead]: ...
    async def list(self, wanted: AuditFilter) -> Sequence[ChainHead]:
        """Chains of that partner (without one, all) that reach into the period, the newest first."""
        ...

    async def advance(self, head: ChainHead, was: int) -> None:
        """Raises Conflict if the chain is not at that sequence any more (0: not begun)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLink:
    """One row of the archive as it lies there."""

    partition: str
    row: str
    link: AuditLink | None
    """None: it is not what a link looks like, or has something that no link has."""
    hash: str
    """The hash it was stored with."""


class AuditArchive(Protocol):
    """Raises ArchiveUnavailable when it cannot be reached."""

    async def put(self, links: Sequence[AuditLink]) -> None:
        """Links of one partition, in any number. One that is there already is written over with the same."""
        ...

    async def read(
        self, head: ChainHead, wanted: AuditFilter, after: tuple[datetime, int] | None, limit: int
    ) -> Sequence[AuditLink]:
        """Of this chain up to its head: newest first, only what is older than that position."""
        ...

    async def count(self, head: ChainHead, wanted: AuditFilter, most: int) -> int: ...
    def all(self) -> AsyncIterator[StoredLink]:
        """Everything there is, partition by partition."""
        ...

    async def close(self) -> None: ...
