"""What leaves the memory store after its time. Kinds that only PostgreSQL keeps have nothing to clear here."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.memory_deliveries import Watched
from shared_code.adapters.memory_inbox import Received
from shared_code.adapters.memory_outbox import Debt
from shared_code.adapters.memory_replies import Kept, Name
from shared_code.adapters.memory_rows import View
from shared_code.model import Attempt, Delivery, Event, Review, ReviewKind
from shared_code.ports import Perishable


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

    async def clear(self, what: Perishable, before: datetime, limit: int) -> int:
        over = [(since, removals) for since, removals in self._over(what) if since is not None and since < before]
        oldest = sorted(over, key=lambda pair: pair[0])[:limit]
        for _, removals in oldest:
            for view, key in removals:
                await view.remove(key)
        return len(oldest)

    def _over(self, what: Perishable) -> Iterator[tuple[datetime | None, list[tuple[View[Any, Any], Any]]]]:
        """Since when each row is over (None: it is not), and all that leaves with it."""
        if what is Perishable.REPLIES:
            yield from ((kept.until, [(self.replies, key)]) for key, kept in self.replies.items())
        if what is Perishable.OUTBOX:
            yield from ((debt.done_at, [(self.debts, key)]) for key, debt in self.debts.items())
        if what is Perishable.INBOX:
            for key, received in self.received.items():
                message = (received.item.partner_id, received.item.message_id)
                yield received.done_at, [(self.received, key), (self.messages, message)]
        if what is Perishable.REVIEWS:
            for key, review in self.reviews.items():
                yield review.resolved_at, [(self.reviews, key), (self.subjects, (review.kind, review.subject))]
        if what is Perishable.EVENTS:
            yield from self._events()

    def _events(self) -> Iterator[tuple[datetime | None, list[tuple[View[Any, Any], Any]]]]:
        for key, event in self.events.items():
            own = [each.delivery for _, each in self.deliveries.items() if of(each.delivery) == key]
            finished = event.payload is None and all(delivery.status.final for delivery in own)
            yield event.created_at if finished else None, [(self.events, key), *self._with(own)]

    def _with(self, deliveries: list[Delivery]) -> Iterator[tuple[View[Any, Any], Any]]:
        ids = {delivery.id for delivery in deliveries}
        yield from ((self.deliveries, delivery_id) for delivery_id in ids)
        yield from ((self.opened, (*of(delivery), delivery.endpoint_id)) for delivery in deliveries)
        yield from ((self.tries, key) for key, (delivery_id, _) in self.tries.items() if delivery_id in ids)


def of(delivery: Delivery) -> tuple[UUID, str]:
    return delivery.partner_id, delivery.event_id
