"""What leaves the memory store after its time. Kinds that only PostgreSQL keeps have nothing to clear here."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.memory_deliveries import Watched
from shared_code.adapters.memory_inbox import Received, Written
from shared_code.adapters.memory_outbox import Debt
from shared_code.adapters.memory_replies import Kept, Name
from shared_code.adapters.memory_rows import View
from shared_code.adapters.memory_sync import Kept as KeptRecord
from shared_code.model import (
    Attempt,
    Delivery,
    Event,
    InboundSecret,
    OAuthConnection,
    OAuthLink,
    OAuthProvider,
    OAuthState,
    Partner,
    RecordName,
    Review,
    ReviewKind,
)
from shared_code.ports import Perishable

type Rows = Iterator[tuple[datetime | None, list[tuple[View[Any, Any], Any]]]]
"""Since when each row is over (None: it is not), and all that leaves with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRetention:
    replies: View[Name, Kept]
    debts: View[int, Debt]
    received: View[int, Received]
    messages: View[tuple[UUID, str], bool]
    events: View[tuple[UUID, str], Event]
    deliveries: View[UUID, Watched]
    opened: View[tuple[UUID, str, str], UUID]
    tries: View[str, tuple[UUID, Attempt]]
    reviews: View[UUID, Review]
    subjects: View[tuple[ReviewKind, str], UUID]
    oauth_links: View[bytes, OAuthLink]
    oauth_states: View[bytes, OAuthState]
    inbound_secrets: View[int, InboundSecret]
    records: View[RecordName, Written]
    known: View[tuple[UUID, str, str], KeptRecord]
    partners: View[UUID, Partner]
    oauth_providers: View[UUID, OAuthProvider]
    connections: View[UUID, OAuthConnection]

    async def clear(self, what: Perishable, before: datetime, limit: int) -> int:
        rows = self._over[what]() if what in self._over else ()
        over = [(since, removals) for since, removals in rows if since is not None and since < before]
        oldest = sorted(over, key=lambda pair: pair[0])[:limit]
        for _, removals in oldest:
            for view, key in removals:
                await view.remove(key)
        return len(oldest)

    @property
    def _over(self) -> Mapping[Perishable, Callable[[], Rows]]:
        return {
            Perishable.REPLIES: lambda: rows_of(self.replies, lambda kept: kept.until),
            Perishable.OAUTH_LINKS: lambda: rows_of(self.oauth_links, lambda link: link.expires_at),
            Perishable.OAUTH_STATES: lambda: rows_of(self.oauth_states, lambda state: state.expires_at),
            Perishable.OAUTH_PROVIDERS: self._oauth_providers,
            Perishable.INBOUND_SECRETS: lambda: rows_of(self.inbound_secrets, lambda secret: secret.expires_at),
            Perishable.OUTBOX: lambda: rows_of(self.debts, lambda debt: debt.done_at),
            Perishable.INBOX: self._inbox,
            Perishable.INBOUND_RECORDS: lambda: rows_of(self.records, lambda written: written.held_until),
            Perishable.SYNC_RECORDS: self._sync_records,
            Perishable.EVENTS: self._events,
            Perishable.REVIEWS: self._reviews,
        }

    def _oauth_providers(self) -> Rows:
        for key, _ in self.oauth_providers.items():
            connection = self.connections.get(key)
            owed = connection is not None and connection.has_tokens
            yield None if owed else self._removed(key), [(self.oauth_providers, key)]

    def _inbox(self) -> Rows:
        for key, received in self.received.items():
            message = (received.item.partner_id, received.item.message_id)
            yield received.done_at, [(self.received, key), (self.messages, message)]

    def _reviews(self) -> Rows:
        for key, review in self.reviews.items():
            yield review.resolved_at, [(self.reviews, key), (self.subjects, (review.kind, review.subject))]

    def _sync_records(self) -> Rows:
        for key, kept in self.known.items():
            yield self._removed(key[0]) if kept.hash is not None else None, [(self.known, key)]

    def _removed(self, partner_id: UUID) -> datetime | None:
        partner = self.partners.get(partner_id)
        return partner.deleted_at if partner else None

    def _events(self) -> Rows:
        for key, event in self.events.items():
            own = [watched.delivery for _, watched in self.deliveries.items() if of(watched.delivery) == key]
            finished = event.payload is None and all(delivery.status.final for delivery in own)
            yield event.created_at if finished else None, [(self.events, key), *self._with(own)]

    def _with(self, deliveries: list[Delivery]) -> Iterator[tuple[View[Any, Any], Any]]:
        ids = {delivery.id for delivery in deliveries}
        yield from ((self.deliveries, delivery_id) for delivery_id in ids)
        yield from ((self.opened, (*of(delivery), delivery.endpoint_id)) for delivery in deliveries)
        yield from ((self.tries, key) for key, (delivery_id, _) in self.tries.items() if delivery_id in ids)


def rows_of[K: Hashable, R](view: View[K, R], since: Callable[[R], datetime | None]) -> Rows:
    return ((since(row), [(view, key)]) for key, row in view.items())


def of(delivery: Delivery) -> tuple[UUID, str]:
    return delivery.partner_id, delivery.event_id
