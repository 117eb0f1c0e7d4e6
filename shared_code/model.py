"""The nouns of PinkSync: frozen records and the rules on them that need no I/O.

*partner* (any of the three types), *endpoint* (a webhook URL of a partner), *event* (one published fact),
*delivery* (one event to one endpoint), *attempt* (one try of a delivery). All times are aware and UTC.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from shared_code import errors

type Json = Mapping[str, object]

DEFAULT_RATE_LIMIT_PER_MINUTE = 100
PARTNER_SCOPES = ("read:*", "write:*")
"""What a partner's first key may do when nothing else is said: all, but only on its own data."""
SCOPE = re.compile(r"admin|(read|write):(\*|[a-z][a-z0-9_\-]{0,63})|proxy:[0-9a-f\-]{36}")


HOUSE = "house"
"""The tenant of keys that belong to no partner."""


def tenant_of(partner_id: UUID | None) -> str:
    return str(partner_id) if partner_id else HOUSE


class PartnerType(StrEnum):
    PARTNER = "partner"
    VENDOR = "vendor"
    PROVIDER = "provider"


class AuthMethod(StrEnum):
    OAUTH2 = "oauth2"
    API_KEY = "api_key"
    BEARER = "bearer"
    BASIC = "basic"


class PartnerStatus(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    INACTIVE = "inactive"


class PartnerMove(StrEnum):
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    DEACTIVATE = "deactivate"


MOVES: Mapping[PartnerMove, tuple[frozenset[PartnerStatus], PartnerStatus]] = {
    PartnerMove.ACTIVATE: (
        frozenset({PartnerStatus.PENDING, PartnerStatus.SUSPENDED, PartnerStatus.INACTIVE}),
        PartnerStatus.ACTIVE,
    ),
    PartnerMove.SUSPEND: (
        frozenset({PartnerStatus.PENDING, PartnerStatus.ACTIVE}),
        PartnerStatus.SUSPENDED,
    ),
    PartnerMove.DEACTIVATE: (
        frozenset({PartnerStatus.PENDING, PartnerStatus.ACTIVE, PartnerStatus.SUSPENDED}),
        PartnerStatus.INACTIVE,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    partner_id: UUID
    name: str
    type: PartnerType
    status: PartnerStatus
    auth_method: AuthMethod
    api_endpoint: str | None = None
    credentials_encrypted: str | None = field(default=None, repr=False)
    rate_limit_per_minute: int = DEFAULT_RATE_LIMIT_PER_MINUTE
    metadata: Json = field(default_factory=dict[str, object])
    created_at: datetime
    updated_at: datetime
    last_sync_at: datetime | None = None
    deleted_at: datetime | None = None
    created_by: str | None = None

    def moved(self, move: PartnerMove, now: datetime) -> Self:
        """This partner after the move. An illegal one raises IllegalMove."""
        allowed, result = MOVES[move]
        if self.deleted_at or self.status not in allowed:
            state = "deleted" if self.deleted_at else self.status.value
            raise errors.IllegalMove(f"The partner is {state}; `{move.value}` is not possible from there.")
        return replace(self, status=result, updated_at=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key at rest. `key_id` is its public part; the secret exists only with its holder."""

    key_id: str
    key_hash: str = field(repr=False)
    partner_id: UUID | None
    """None: a key of the house itself, not of any partner."""
    name: str
    scopes: Sequence[str]
    rate_limit_per_minute: int | None = None
    """None: the partner's own limit holds."""
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    created_at: datetime
    created_by: str | None = None

    @property
    def tenant(self) -> str:
        return tenant_of(self.partner_id)

    def dead(self, now: datetime) -> bool:
        return self.revoked_at is not None or (self.expires_at is not None and self.expires_at <= now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a proven key may do right now: the key and its partner in one record."""

    key_id: str
    partner_id: UUID | None
    partner_status: PartnerStatus | None
    scopes: Sequence[str]
    limit_per_minute: int
    expires_at: datetime | None = None

    @property
    def tenant(self) -> str:
        return tenant_of(self.partner_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request came from; every audit row carries it."""

    request_id: str
    address: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, as proven by the credential alone. Services take the tenant from here and nowhere else."""

    grant: Grant
    origin: Origin

    @property
    def partner_id(self) -> UUID | None:
        return self.grant.partner_id

    @property
    def actor(self) -> str:
        return self.grant.key_id

    @property
    def is_house(self) -> bool:
        return self.grant.partner_id is None

    @property
    def is_admin(self) -> bool:
        return self.is_house and "admin" in self.grant.scopes

    def holds(self, scope: str) -> bool:
        return scope_held(scope, self.grant.scopes)

    def reach(self, partner_id: UUID) -> UUID:
        """The partner, if this caller may act for it; otherwise it is as if it did not exist."""
        if self.is_admin or self.grant.partner_id == partner_id:
            return partner_id
        raise errors.NotFound()

    def target(self, partner_id: UUID | None) -> UUID:
        """The partner that an action is for: a partner's own, or the one that the house names."""
        if self.grant.partner_id:
            return self.reach(partner_id or self.grant.partner_id)
        if partner_id is None:
            raise errors.InvalidBody(
                violations=[errors.Violation(pointer="/partner_id", detail="An admin key must name the partner.")]
            )
        return partner_id

    def own(self) -> UUID | None:
        """The partner whose rows this caller may list; None means everyone's, for an admin."""
        if self.grant.partner_id or self.is_admin:
            return self.grant.partner_id
        raise errors.AdminOnly()


def scope_held(scope: str, held: Iterable[str]) -> bool:
    """`read:*` holds every `read:<area>`; `admin` holds all."""
    action, _, _area = scope.partition(":")
    return (
        bool({scope, f"{action}:*", "admin"} & set(held)) if action != "proxy" else bool({scope, "admin"} & set(held))
    )


class EndpointState(StrEnum):
    """How far the webhook service knows an endpoint."""

    PENDING = "pending"
    REGISTERED = "registered"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    endpoint_id: str
    partner_id: UUID
    url: str
    events: Sequence[str]
    description: str = ""
    enabled: bool = True
    state: EndpointState = EndpointState.PENDING
    svix_endpoint_id: str | None = None
    secret_encrypted: str | None = field(default=None, repr=False)
    """Kept only until the endpoint is registered; then the webhook service holds the secret."""
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    name: str
    description: str = ""
    schema: Json | None = None
    example: object = None
    deprecated: bool = False
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    event_id: str
    partner_id: UUID
    event_type: str
    payload: Json
    request_id: str | None = None
    created_at: datetime


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        return self in (DeliveryStatus.DELIVERED, DeliveryStatus.FAILED, DeliveryStatus.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    attempt_id: str
    endpoint_id: str
    at: datetime
    response_code: int | None
    response_body: str
    duration_ms: int
    error: str | None

    @property
    def succeeded(self) -> bool:
        return self.response_code is not None and 200 <= self.response_code < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    id: UUID
    partner_id: UUID
    event_id: str
    event_type: str
    endpoint_id: str
    status: DeliveryStatus
    response_code: int | None = None
    attempt_count: int = 0
    max_attempts: int
    next_retry_at: datetime | None = None
    delivered_at: datetime | None = None
    created_at: datetime

    def learned(self, attempts: Sequence[Attempt], next_retry_at: datetime | None) -> Self:
        """This delivery after what the webhook service says of its attempts (oldest first).

        It only moves forward: a delivered one stays delivered, and knowing fewer attempts changes nothing.
        """
        if self.status is DeliveryStatus.DELIVERED or len(attempts) <= self.attempt_count:
            return self
        last = attempts[-1]
        success = next((attempt for attempt in attempts if attempt.succeeded), None)
        if success:
            status = DeliveryStatus.DELIVERED
        else:
            status = DeliveryStatus.RETRYING if next_retry_at else DeliveryStatus.FAILED
        return replace(
            self,
            status=status,
            response_code=(success or last).response_code,
            attempt_count=len(attempts),
            next_retry_at=next_retry_at if status is DeliveryStatus.RETRYING else None,
            delivered_at=success.at if success else None,
        )


class OutboxKind(StrEnum):
    """The calls to the webhook service that a committed change still owes."""

    OPEN_ENDPOINT = "endpoint.open"
    SEND_EVENT = "event.send"
    CLOSE_PARTNER = "partner.close"
    PUT_EVENT_TYPE = "event_type.put"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    id: int
    kind: OutboxKind
    partner_id: UUID | None
    subject: str
    attempts: int
    created_at: datetime


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
class LimitState:
    """Where a caller stands with its limit after this request was counted. `reset` is epoch seconds."""

    limit: int
    remaining: int
    reset: int
    retry_after: int = 0
    """Whole seconds until the next request is allowed; 0 if this one was."""

    @property
    def exceeded(self) -> bool:
        return self.retry_after > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """The answer kept for an Idempotency-Key."""

    fingerprint: bytes
    status: int
    headers: Mapping[str, str]
    body_encrypted: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    email: str
    password_hash: str = field(repr=False)
    role: str
    created_at: datetime


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
    next: tuple[datetime, int] | None
    """Position of the last item here, when there are more after it."""
