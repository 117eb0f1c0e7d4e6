"""The holes in the wall: what the services need from outside, in domain words. Adapters fill them.

Every method may raise the port's own failure from `errors` (the store: StoreUnavailable; the webhook
service: WebhookServiceUnavailable); no library's exception comes through. What is not found is None.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from shared_code.model import (
    ApiKey,
    Attempt,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Endpoint,
    Event,
    EventType,
    Grant,
    Health,
    Json,
    LimitState,
    Listing,
    OutboxItem,
    OutboxKind,
    Page,
    Partner,
    PartnerStatus,
    PartnerType,
    Severity,
    StoredReply,
    User,
)

# ── The system of record ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    partner_id: UUID | None = None
    status: DeliveryStatus | None = None
    event_type: str | None = None
    endpoint_id: str | None = None
    event_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    partner_id: UUID | None = None
    severity: Severity | None = None
    event_type: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Partners(Protocol):
    async def add(self, partner: Partner) -> None: ...
    async def get(self, partner_id: UUID, *, lock: bool = False) -> Partner | None:
        """With `lock`, nobody else changes the row until the transaction ends."""
        ...

    async def save(self, partner: Partner) -> None: ...
    async def list(
        self, page: Page, *, type: PartnerType | None = None, status: PartnerStatus | None = None
    ) -> Listing[Partner]: ...
    async def active(self) -> Sequence[UUID]: ...


class ApiKeys(Protocol):
    async def add(self, key: ApiKey) -> None: ...
    async def get(self, key_id: str, *, lock: bool = False) -> ApiKey | None: ...
    async def save(self, key: ApiKey) -> None: ...
    async def list(self, page: Page, *, partner_id: UUID | None, house: bool = False) -> Listing[ApiKey]:
        """A partner's keys; or, without a partner, everyone's; or with `house` only the house's own."""
        ...

    async def revoke_all(self, partner_id: UUID, now: datetime) -> int: ...


class Endpoints(Protocol):
    async def add(self, endpoint: Endpoint) -> None: ...
    async def get(self, endpoint_id: str, *, lock: bool = False) -> Endpoint | None: ...
    async def save(self, endpoint: Endpoint) -> None: ...
    async def list(self, page: Page, *, partner_id: UUID) -> Listing[Endpoint]:
        """Deleted ones are left out here, and found by `get`."""
        ...

    async def close_all(self, partner_id: UUID, now: datetime) -> int: ...


class EventTypes(Protocol):
    async def get(self, name: str) -> EventType | None: ...
    async def put(self, event_type: EventType) -> None: ...
    async def list(self) -> Sequence[EventType]: ...


class Events(Protocol):
    async def add(self, event: Event) -> bool:
        """False, and nothing is stored, if the partner already has an event of this id."""
        ...

    async def get(self, partner_id: UUID, event_id: str) -> Event | None: ...


class Deliveries(Protocol):
    async def open(self, event: Event, max_attempts: int) -> int:
        """One pending delivery for each enabled endpoint of the partner that wants the event's type."""
        ...

    async def get(self, delivery_id: UUID) -> Delivery | None: ...
    async def list(self, wanted: DeliveryFilter, page: Page) -> Listing[Delivery]: ...
    async def attempts(self, delivery_id: UUID) -> Sequence[Attempt]: ...
    async def due(self, now: datetime, limit: int, lease: timedelta) -> Sequence[Delivery]:
        """Unfinished deliveries whose outcome should be asked for now; nobody else gets them for the lease."""
        ...

    async def learn(self, delivery: Delivery, attempts: Sequence[Attempt], check_at: datetime | None) -> None:
        """Store what was learned, and when to ask again (None: never)."""
        ...


class Outbox(Protocol):
    async def add(self, kind: OutboxKind, partner_id: UUID | None, subject: str, now: datetime) -> int: ...
    async def claim(
        self, now: datetime, lease: timedelta, limit: int, only: Sequence[int] | None = None
    ) -> Sequence[OutboxItem]:
        """Items that are due and free, now held until the lease ends.

        An event waits while an earlier item of another kind for its partner is still owed, and an
        endpoint while an earlier event type is.
        """
        ...

    async def done(self, item_ids: Sequence[int], now: datetime) -> None: ...
    async def postpone(self, item_id: int, until: datetime, reason: str) -> None: ...
    async def bury(self, item_id: int, now: datetime, reason: str) -> None:
        """Set aside for good: a person must look."""
        ...

    async def backlog(self) -> Mapping[str, int]:
        """How many items are owed and how many are buried: `{"owed": n, "buried": n}`."""
        ...


class AuditTrail(Protocol):
    async def add(self, entry: AuditEntry) -> None: ...
    async def list(self, wanted: AuditFilter, page: Page) -> Listing[AuditEntry]: ...


class Replies(Protocol):
    """Answers kept for Idempotency-Keys, per tenant and route."""

    async def claim(self, tenant: str, route: str, key: str) -> StoredReply | None:
        """The stored answer, or None: then this transaction alone may work on the key until it ends.

        Raises IdempotencyInFlight while another transaction holds it.
        """
        ...

    async def keep(self, tenant: str, route: str, key: str, reply: StoredReply, until: datetime) -> None: ...


type Action = Callable[[], Awaitable[None]]


class Users(Protocol):
    async def add(self, user: User) -> None: ...
    async def get(self, email: str) -> User | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """Every table, seen from inside one transaction."""

    partners: Partners
    keys: ApiKeys
    endpoints: Endpoints
    event_types: EventTypes
    events: Events
    deliveries: Deliveries
    outbox: Outbox
    audit: AuditTrail
    replies: Replies
    users: Users
    after_commit: Callable[[Action], None]
    """Runs the action once, right after the outermost transaction has committed; never if it rolls back."""


class Store(Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """All or nothing. Opened inside another one, it joins that one and commits with it."""
        ...

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        """For a read that needs no transaction of its own; sees what an open transaction has written."""
        ...

    async def ping(self) -> None: ...
    async def close(self) -> None: ...


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────


class KeyHasher(Protocol):
    """Slow by purpose, and bounded: raises Overloaded when too many wait."""

    async def hash(self, secret: str) -> str: ...
    async def matches(self, secret: str, hashed: str | None) -> bool:
        """None, an unknown key, takes as long as a known one and is False."""
        ...

    def proof(self, secret: str) -> str:
        """A name under which "this secret was right" may be remembered; it gives nothing away."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the cache knows of a presented key, learned in one round trip."""

    proven: bool = False
    grant: Grant | None = None
    limit: LimitState | None = None
    """Set when there was a grant: this request is already counted."""
    epoch: str = ""
    """Opaque; hand it back to `remember`, so that what was read before a change is never kept after it."""
    degraded: bool = False
    """The cache is down; limits are counted in this process alone."""


class AccessCache(Protocol):
    async def look(self, key_id: str, proof: str) -> Look: ...
    async def remember(self, key_id: str, proof: str, grant: Grant, epoch: str) -> LimitState:
        """Keep the proof and the grant, and count this request."""
        ...

    async def epoch(self, tenant: str) -> str: ...
    async def forget(self, tenant: str) -> None:
        """Nothing remembered of this tenant's grants is used again, in any process."""
        ...

    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class Cipher(Protocol):
    """Encrypts secrets at rest, each bound to its owner and field: moved elsewhere it does not decrypt."""

    def seal(self, plain: bytes, owner: str, field: str) -> str: ...
    def open(self, sealed: str, owner: str, field: str) -> bytes: ...


# ── The webhook service ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one event at one endpoint so far; attempts oldest first."""

    endpoint_id: str
    attempts: Sequence[Attempt]
    next_retry_at: datetime | None


class WebhookService(Protocol):
    """Signs, delivers and retries. Every call is safe to repeat. Raises:

    WebhookServiceUnavailable: try again later. Refused: this call will never work; a person must look.
    """

    async def open_endpoint(self, endpoint: Endpoint, secret: str) -> str:
        """Makes the partner known if need be, and the endpoint; answers the service's own id for it."""
        ...

    async def close_partner(self, partner_id: UUID) -> None: ...
    async def put_event_type(self, event_type: EventType) -> None: ...
    async def send(self, event: Event) -> None:
        """Accepted for delivery, once, however often it is called."""
        ...

    async def outcomes(self, partner_id: UUID, event_id: str) -> Sequence[Outcome]: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class Refused(Exception):
    """The webhook service will never take this; the text says why, without any secret."""


# ── Small things ─────────────────────────────────────────────────────────────────────────────────

type Clock = Callable[[], datetime]
type Probe = Callable[[], Awaitable[Health]]
type UrlRule = Callable[[str], None]
"""Raises UrlNotAllowed for a URL that PinkSync must never call."""
type SchemaCheck = Callable[[Json, object], Sequence[tuple[str, str]]]
"""(pointer, message) of each way in which a value breaks a JSON schema."""
