"""The system of record: every table, and transactions over them."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from shared_code.model import (
    ApiKey,
    Attempt,
    Delivery,
    DeliveryStatus,
    Endpoint,
    Event,
    EventType,
    InboundSecret,
    InboxItem,
    Listing,
    Origin,
    OutboxItem,
    OutboxKind,
    Page,
    Partner,
    PartnerStatus,
    PartnerType,
    RecordName,
    Review,
    ReviewKind,
    SealedUnder,
    SealedValue,
    StoredReply,
    Turn,
    User,
)
from shared_code.ports.audit import AuditTrail, ChainHeads
from shared_code.ports.metrics import FigureBook
from shared_code.ports.oauth import OAuthConnections, OAuthLinks, OAuthProviders, OAuthStates
from shared_code.ports.retention import Retention
from shared_code.ports.sync import SyncJobs, SyncRecords, SyncSources


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    partner_id: UUID | None = None
    status: DeliveryStatus | None = None
    event_type: str | None = None
    endpoint_id: str | None = None
    event_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


type EventKey = tuple[UUID, str]
"""The partner and the id of an event, which together name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What was learned of a delivery: how it stands now, and when to ask again (None: never)."""

    delivery: Delivery
    attempts: Sequence[Attempt]
    check_at: datetime | None


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
    async def used(self, times: Mapping[str, datetime]) -> None:
        """Sets `last_used_at` of many keys, where it moves on by a minute or more: one write per key and minute."""
        ...


class Endpoints(Protocol):
    async def add(self, endpoint: Endpoint) -> None: ...
    async def get(self, endpoint_id: str, *, lock: bool = False) -> Endpoint | None: ...
    async def save(self, endpoint: Endpoint) -> None: ...
    async def list(self, page: Page, *, partner_id: UUID) -> Listing[Endpoint]:
        """Deleted ones are left out here, and found by `get`."""
        ...

    async def close_all(self, partner_id: UUID, now: datetime) -> int: ...
    async def find(self, partner_id: UUID, endpoint_id: str, svix_endpoint_id: str) -> str | None:
        """The id of the partner's endpoint that goes by either of these."""
        ...


class EventTypes(Protocol):
    async def get(self, name: str) -> EventType | None: ...
    async def put(self, event_type: EventType) -> None: ...
    async def list(self) -> Sequence[EventType]: ...
    async def named(self, names: Sequence[str]) -> Mapping[str, EventType]:
        """Those of these names that there are."""
        ...


class Events(Protocol):
    async def add(self, event: Event) -> bool:
        """False, and nothing is stored, if the partner already has an event of this id."""
        ...

    async def get(self, partner_id: UUID, event_id: str) -> Event | None: ...
    async def add_all(self, event: Event, partner_ids: Sequence[UUID]) -> Sequence[UUID]:
        """The same event for many partners in one step; answers those who did not have it yet."""
        ...

    async def to_send(self, keys: Sequence[EventKey]) -> Mapping[EventKey, Event]:
        """Those of these that have a payload still, and a partner that is not deleted."""
        ...

    async def clear(self, before: datetime, limit: int) -> int:
        """The oldest payloads from before that time are gone, their rows stay. Answers how many."""
        ...


class Publications(Protocol):
    async def add(self, events: Sequence[Event], max_attempts: int) -> Mapping[UUID, PartnerStatus | None]:
        """Each event that is new, with its deliveries (`Deliveries.open`) and the debt to send it, in one step.

        Answers the partners that get no events, for whom nothing is stored: how they stand, None for one that is
        deleted or unknown.
        """
        ...


class Deliveries(Protocol):
    async def open(self, event: Event, max_attempts: int) -> int:
        """One delivery per endpoint of the partner that wants the event's type; skipped if that is disabled.

        Its outcome is not asked for before the event is `sent`.
        """
        ...

    async def open_all(self, event: Event, partner_ids: Sequence[UUID], max_attempts: int) -> int: ...
    async def get(self, delivery_id: UUID, *, lock: bool = False) -> Delivery | None: ...
    async def list(self, wanted: DeliveryFilter, page: Page) -> Listing[Delivery]: ...
    async def attempts(self, delivery_id: UUID) -> Sequence[Attempt]: ...
    async def clear_answers(self, before: datetime, limit: int) -> int:
        """What endpoints answered before that time is gone, the attempts stay. Answers how many."""
        ...

    async def failed(
        self, endpoint_id: str, since: datetime, until: datetime, limit: int, *, lock: bool = False
    ) -> Sequence[UUID]:
        """Of this endpoint: the failed and the skipped ones whose payload is still there, oldest first."""
        ...

    async def to_retry(self, wanted: DeliveryFilter, limit: int) -> Sequence[Delivery]:
        """The same of all endpoints that are there and enabled, locked: of two who would send them again, one does."""
        ...

    async def again(self, delivery_id: UUID, now: datetime) -> None:
        """It is being sent once more: a failed or skipped one is retrying, and its outcome is asked for."""
        ...

    async def again_all(self, delivery_ids: Sequence[UUID], now: datetime) -> None: ...

    async def check(self, partner_id: UUID, event_id: str, now: datetime) -> None:
        """Ask for the outcome of this event's deliveries at once, those not delivered yet."""
        ...

    async def check_endpoint(self, endpoint_id: str, now: datetime) -> None:
        """The same of this endpoint's deliveries that wait for a retry."""
        ...

    async def sent(self, keys: Sequence[EventKey], check_at: datetime) -> None:
        """The webhook service has these events now; the outcome of their deliveries is asked for from then on."""
        ...

    async def due(self, now: datetime, limit: int, lease: timedelta) -> Sequence[Delivery]:
        """Unfinished deliveries whose outcome should be asked for now; nobody else gets them for the lease."""
        ...

    async def learn(self, delivery: Delivery, attempts: Sequence[Attempt], check_at: datetime | None) -> None:
        """Store what was learned, and when to ask again (None: never)."""
        ...

    async def learn_all(self, lessons: Sequence[Lesson]) -> None: ...


class Reviews(Protocol):
    async def add(self, review: Review) -> bool:
        """False, and nothing changes, if the subject has an open review of this kind. A resolved one opens again."""
        ...

    async def get(self, review_id: UUID, *, lock: bool = False) -> Review | None: ...
    async def save(self, review: Review) -> None: ...
    async def settle(self, kind: ReviewKind, subject: str, note: str, now: datetime) -> None:
        """Resolves an open one, if there is one, in the gateway's own name."""
        ...

    async def settle_all(self, kind: ReviewKind, subjects: Sequence[str], note: str, now: datetime) -> None: ...

    async def list(
        self, page: Page, *, kind: ReviewKind | None = None, open: bool | None = None
    ) -> Listing[Review]: ...


class Inbox(Protocol):
    async def add(self, partner_id: UUID, message_id: str, body: bytes, origin: Origin, now: datetime) -> int | None:
        """Its number; None, and nothing is stored, if this message of this partner is here already."""
        ...

    async def claim(self, now: datetime, lease: timedelta, limit: int) -> Sequence[InboxItem]: ...
    async def get(self, item_id: int) -> InboxItem | None: ...
    async def done(self, item_id: int, now: datetime) -> None: ...
    async def postpone(self, item_id: int, until: datetime, reason: str) -> None: ...
    async def bury(self, item_id: int, now: datetime, reason: str) -> None: ...
    async def revive(self, item_id: int, now: datetime) -> None:
        """A buried one is worked once more."""
        ...

    async def take_turn(self, record: RecordName, happened_at: datetime, now: datetime, lease: timedelta) -> Turn:
        """With TAKEN nobody else writes this record until the turn or the lease ends; earlier events never will."""
        ...

    async def end_turn(self, record: RecordName, now: datetime) -> None: ...


class InboundSecrets(Protocol):
    async def add(self, secret: InboundSecret) -> None: ...
    async def live(self, partner_id: UUID, now: datetime) -> Sequence[InboundSecret]:
        """Newest first."""
        ...

    async def expire(self, partner_id: UUID, at: datetime, now: datetime) -> None:
        """The newest one that lives now ends then, if it does not end before; those before it end now."""
        ...


class SealedValues(Protocol):
    """Every value that is sealed, in whatever table, by the name under which it was sealed."""

    async def kids(self) -> Collection[SealedUnder]:
        """Which keys seal which fields, found quickly."""
        ...

    async def counts(self) -> Mapping[SealedUnder, int]: ...
    async def hold(self, under: SealedUnder, after: str | None, limit: int) -> Sequence[SealedValue]:
        """Values past the place `after`, ours alone until the transaction ends; those that others hold are left out."""
        ...

    async def put(self, field: str, values: Sequence[tuple[SealedValue, str]]) -> int:
        """The new text for each that is as it was. Nothing else of its row changes. Answers how many."""
        ...


class Outbox(Protocol):
    async def add(self, kind: OutboxKind, partner_id: UUID | None, subject: str, now: datetime) -> int: ...
    async def add_all(self, kind: OutboxKind, partner_ids: Sequence[UUID], subject: str, now: datetime) -> None: ...
    async def add_each(
        self, kind: OutboxKind, partner_ids: Sequence[UUID], subjects: Sequence[str], now: datetime
    ) -> None:
        """One item for each pair of them."""
        ...

    async def owes(self, kind: OutboxKind, partner_id: UUID, subject: str) -> bool: ...
    async def claim(
        self, now: datetime, lease: timedelta, limit: int, only: Sequence[int] | None = None
    ) -> Sequence[OutboxItem]:
        """Items that are due and free, now held until the lease ends.

        An event waits while an earlier item of another kind for its partner is still owed, and an
        endpoint while an earlier event type is, a change of an endpoint while an earlier one is,
        the end of a partner while anything of its set-up is.
        """
        ...

    async def done(self, item_ids: Sequence[int], now: datetime) -> None: ...
    async def settle(self, kind: OutboxKind, subjects: Sequence[str], now: datetime) -> None:
        """What is owed of this kind to these subjects came about otherwise."""
        ...

    async def postpone(self, item_id: int, until: datetime, reason: str) -> None: ...
    async def bury(self, item_id: int, now: datetime, reason: str) -> None:
        """Set aside for good: a person must look."""
        ...

    async def revive(self, item_id: int, now: datetime) -> None:
        """A buried one is owed again."""
        ...

    async def backlog(self) -> Mapping[str, int]:
        """How many items are owed and how many are buried: `{"owed": n, "buried": n}`."""
        ...


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
    publications: Publications
    deliveries: Deliveries
    outbox: Outbox
    audit: AuditTrail
    audit_heads: ChainHeads
    replies: Replies
    users: Users
    reviews: Reviews
    inbox: Inbox
    inbound_secrets: InboundSecrets
    oauth_providers: OAuthProviders
    oauth_links: OAuthLinks
    oauth_states: OAuthStates
    connections: OAuthConnections
    retention: Retention
    sealed: SealedValues
    jobs: SyncJobs
    sources: SyncSources
    records: SyncRecords
    figures: FigureBook
    after_commit: Callable[[Action], None]
    """Runs the action once, right after the outermost transaction has committed; never if it rolls back."""


class Store(Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """All or nothing. Opened inside another one, it joins that one and commits with it."""
        ...

    def inside(self) -> bool:
        """Whether a transaction is open here, which whatever is opened now would join."""
        ...

    def single(self) -> AbstractAsyncContextManager[Transaction]:
        """For reads and then one change that is all or nothing by itself; cheaper than a transaction."""
        ...

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        """For a read that needs no transaction of its own; sees what an open transaction has written."""
        ...

    async def ping(self) -> None: ...
    async def close(self) -> None: ...
