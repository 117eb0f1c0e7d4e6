"""Webhooks out: endpoints, events, deliveries, attempts, and the calls still owed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID, uuid4

from shared_code.model.records import Json


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
    payload: Json | None
    """None: it was cleared after its time."""
    request_id: str | None = None
    traceparent: str | None = None
    """The trace it was published in, as W3C writes it."""
    created_at: datetime


A_MOMENT = timedelta(seconds=5)
PATIENCE = timedelta(minutes=1)
"""How long after its time a retry may still show up."""
LONGEST_LAG = timedelta(minutes=10)
"""And how long one that is still planned: the service keeps the plan of a retry that met a disabled endpoint."""


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

    def learned(self, attempts: Sequence[Attempt], next_retry_at: datetime | None, now: datetime) -> Self:
        """This delivery after what the webhook service says of its attempts (oldest first).

        It only moves forward: a delivered one stays delivered, whatever became of attempts that were forced after
        it, and knowing fewer attempts changes nothing.
        A retry that is overdue and that nobody plans any more (its endpoint was disabled) will not come.
        """
        if len(attempts) < self.attempt_count or not attempts:
            return self
        if next_retry_at and next_retry_at + LONGEST_LAG < now:
            next_retry_at = None
        if self.status is DeliveryStatus.DELIVERED:
            return replace(self, attempt_count=len(attempts))
        if len(attempts) == self.attempt_count and not self._forsaken(next_retry_at, now):
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

    def retried_just_now(self, now: datetime) -> bool:
        """Nothing is known yet of the attempt that is being made."""
        due_since = now - self.next_retry_at if self.next_retry_at else None
        return due_since is not None and timedelta(0) <= due_since < A_MOMENT

    def _forsaken(self, next_retry_at: datetime | None, now: datetime) -> bool:
        overdue = self.next_retry_at is not None and self.next_retry_at + PATIENCE < now
        return self.status is DeliveryStatus.RETRYING and next_retry_at is None and overdue


class OutboxKind(StrEnum):
    """The calls to the webhook service that a committed change still owes."""

    OPEN_ENDPOINT = "endpoint.open"
    PUT_ENDPOINT = "endpoint.put"
    CLOSE_ENDPOINT = "endpoint.close"
    SEND_EVENT = "event.send"
    RESEND_DELIVERY = "delivery.resend"
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


class ReviewKind(StrEnum):
    DELIVERY_EXHAUSTED = "delivery_exhausted"
    INBOUND_UNROUTABLE = "inbound_unroutable"
    OUTBOX_REFUSED = "outbox_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Something a person must look at."""

    review_id: UUID
    kind: ReviewKind
    subject: str
    """A delivery id, an inbox number or an outbox number, by kind."""
    partner_id: UUID | None
    reason: str
    note: str | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    created_at: datetime

    @classmethod
    def opened(cls, kind: ReviewKind, subject: str, partner_id: UUID | None, reason: str, now: datetime) -> Self:
        return cls(review_id=uuid4(), kind=kind, subject=subject, partner_id=partner_id, reason=reason, created_at=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundSecret:
    partner_id: UUID
    secret_encrypted: str = field(repr=False)
    expires_at: datetime | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """An event that a partner sent us, as it came."""

    id: int
    partner_id: UUID
    message_id: str
    body: bytes = field(repr=False)
    request_id: str | None
    attempts: int
    received_at: datetime


type RecordName = tuple[UUID, str, str]
"""A partner's business record: the partner, the resource, and the record's own id there."""


class Turn(StrEnum):
    """Whether an event may write its record now."""

    TAKEN = "taken"
    HELD = "held"
    """Another event of the same record is being written."""
    STALE = "stale"
    """Something that happened later is written already, or will be."""
