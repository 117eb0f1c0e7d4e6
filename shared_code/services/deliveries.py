"""The delivery log: read back, and kept true by asking the webhook service (design.md flow 2).

Only unfinished deliveries that are due are asked for, so history is never scanned. Whatever is learned
only moves a delivery forward.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from shared_code import errors
from shared_code.model import Attempt, Caller, Delivery, Json, Listing, Page
from shared_code.ports import Clock, DeliveryFilter, Outcome, Refused, Store, WebhookService

BATCH = 100
AT_ONCE = 10
LEASE = timedelta(seconds=30)
SOONEST = timedelta(milliseconds=300)
LATEST = timedelta(minutes=5)

logger = logging.getLogger("pinksync.deliveries")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    delivery: Delivery
    payload: Json
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class DeliveryService:
    store: Store
    service: WebhookService
    now: Clock

    async def list(self, wanted: DeliveryFilter, page: Page) -> Listing[Delivery]:
        async with self.store.reading() as reading:
            return await reading.deliveries.list(wanted, page)

    async def get(self, caller: Caller, delivery_id: UUID) -> DeliveryReport:
        async with self.store.reading() as reading:
            delivery = await reading.deliveries.get(delivery_id)
            if delivery is None:
                raise errors.NotFound()
            caller.reach(delivery.partner_id)
            event = await reading.events.get(delivery.partner_id, delivery.event_id)
            attempts = await reading.deliveries.attempts(delivery_id)
        return DeliveryReport(delivery=delivery, payload=event.payload if event else {}, attempts=attempts)

    async def reconcile(self) -> int:
        """Learns the outcome of every delivery that is due. Answers how many were asked for."""
        total = 0
        while batch := await self._claim():
            total += len(batch)
            events = list(dict.fromkeys((delivery.partner_id, delivery.event_id) for delivery in batch))
            asking = asyncio.Semaphore(AT_ONCE)
            found = await asyncio.gather(*(self._ask(asking, partner, event) for partner, event in events))
            known = dict(zip(events, found, strict=True))
            await self._learn([(delivery, known[delivery.partner_id, delivery.event_id]) for delivery in batch])
        return total

    async def _claim(self) -> Sequence[Delivery]:
        async with self.store.transaction() as transaction:
            return await transaction.deliveries.due(self.now(), BATCH, LEASE)

    async def _ask(self, asking: asyncio.Semaphore, partner_id: UUID, event_id: str) -> Sequence[Outcome]:
        """An outcome that cannot be learned now is asked for again later; nothing is guessed."""
        async with asking:
            try:
                return await self.service.outcomes(partner_id, event_id)
            except (errors.PinkSyncError, Refused) as error:
                logger.warning("no outcome of event %s yet: %s", event_id, type(error).__name__)
                return ()

    async def _learn(self, batch: Sequence[tuple[Delivery, Sequence[Outcome]]]) -> None:
        now = self.now()
        async with self.store.transaction() as transaction:
            for delivery, outcomes in batch:
                outcome = next((found for found in outcomes if found.endpoint_id == delivery.endpoint_id), None)
                attempts = outcome.attempts if outcome else ()
                learned = delivery.learned(attempts, outcome.next_retry_at if outcome else None)
                await transaction.deliveries.learn(learned, attempts, next_check(learned, now))


def next_check(delivery: Delivery, now: datetime) -> datetime | None:
    """When to ask again: just after the next retry; for a young one soon, for an older one later."""
    if delivery.status.final:
        return None
    if delivery.next_retry_at and delivery.next_retry_at > now:
        return min(delivery.next_retry_at + SOONEST, now + LATEST)
    return now + min(max((now - delivery.created_at) / 4, SOONEST), LATEST)
