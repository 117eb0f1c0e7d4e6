"""Records that belong to no one noun: the audit trail, pages, kept answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

type Json = Mapping[str, object]


class Severity(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One row of `integration_logs`: who did what to what, from where."""

    log_id: UUID
    event_type: str
    severity: Severity = Severity.INFO
    message: str
    actor: str
    target: str
    partner_id: UUID | None = None
    metadata: Json = field(default_factory=dict[str, object])
    request_id: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """The answer kept for an Idempotency-Key."""

    fingerprint: bytes
    status: int
    headers: Mapping[str, str]
    body_encrypted: str = field(repr=False)


MOST_COUNTED = 10_001


class Health(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list is wanted: after a cursor's position, or from an offset. Newest first."""

    limit: int = 50
    offset: int = 0
    after: tuple[datetime, int] | None = None
    """The (created_at, row number) of the last item that was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing[Item]:
    items: Sequence[Item]
    total: int
    """How many there are in all; counting stops at MOST_COUNTED."""
    next: tuple[datetime, int] | None
    """Position of the last item here, when there are more after it."""
    exact: bool = True
    """False: counting was given up, and there are at least so many."""
