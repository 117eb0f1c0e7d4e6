"""The delivery log is kept true by asking the webhook service (design.md flow 2).

Only unfinished deliveries that are due are asked for, so history is never scanned. Whatever is learned
only moves a delivery forward.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code import errors
from shared_code.model import Delivery, DeliveryStatus, OutboxKind, Review, ReviewKind
from shared_code.ports import Clock, Lesson, Outcome, Refused, Store, Transaction, WebhookService
from shared_code.services.telling import tell_of_deliveries

BATCH = 1000
AT_ONCE = 10
LEASE = timedelta(seconds=30)
SOONEST = timedelta(milliseconds=300)
LATEST = timedelta(minutes=5)
YOUNG = timedelta(minutes=2)
LONGEST_ATTEMPT = timedelta(seconds=30)
CLOCKS_DIFFER = timedelta(seconds=2)
"""How far the webhook service's clock may be behind ours; beyond that each event is asked for alone."""

type Learned = tuple[Delivery, Sequence[Outcome] | None]
"""None: the webhook service did not say."""

logger = logging.getLogger("pinksync.deliveries")


@dataclass(frozen=True, slots=True)
class Reconciler:
    store: Store
    service: WebhookService
    now: Clock

    async def run(self) -> int:
        """Learns the outcome of every delivery that is due. Answers how many were asked for."""
        total = 0
        while batch := await self._claim():
            total += len(batch)
            await self._learn(await self._ask_all(batch))
        return total

    async def _claim(self) -> Sequence[Delivery]:
        async with self.store.transaction() as transaction:
            return await transaction.deliveries.due(self.now(), BATCH, LEASE)

    async def _ask_all(self, batch: Sequence[Delivery]) -> Sequence[Learned]:
        """Young deliveries to one endpoint are asked for together; what that does not tell, event by event."""
        asking = asyncio.Semaphore(AT_ONCE)
        told = await asyncio.gather(*(self._ask_together(asking, group) for group in young_groups(batch, self.now())))
        known = {delivery_id: outcome for each in told for delivery_id, outcome in each.items()}
        rest = [delivery for delivery in batch if delivery.id not in known]
        events = list(dict.fromkeys((delivery.partner_id, delivery.event_id) for delivery in rest))
        found = await asyncio.gather(*(self._ask(asking, partner, event) for partner, event in events))
        by_event = dict(zip(events, found, strict=True))
        return [
            (each, [known[each.id]] if each.id in known else by_event[each.partner_id, each.event_id]) for each in batch
        ]

    async def _ask_together(self, asking: asyncio.Semaphore, group: Sequence[Delivery]) -> Mapping[UUID, Outcome]:
        partner_id, endpoint_id = group[0].partner_id, group[0].endpoint_id
        since = min(delivery.created_at for delivery in group) - CLOCKS_DIFFER
        async with asking:
            try:
                told = await self.service.recent(partner_id, endpoint_id, since, [each.event_id for each in group])
            except (errors.PinkSyncError, Refused) as error:
                logger.warning("no outcomes of endpoint %s yet: %s", endpoint_id, type(error).__name__)
                return {}
        return {delivery.id: told[delivery.event_id] for delivery in group if delivery.event_id in told}

    async def _ask(self, asking: asyncio.Semaphore, partner_id: UUID, event_id: str) -> Sequence[Outcome] | None:
        """An outcome that cannot be learned now is asked for again later; nothing is guessed."""
        async with asking:
            try:
                return await self.service.outcomes(partner_id, event_id)
            except (errors.PinkSyncError, Refused) as error:
                logger.warning("no outcome of event %s yet: %s", event_id, type(error).__name__)
                return None

    async def _learn(self, batch: Sequence[Learned]) -> None:
        now = self.now()
        async with self.store.transaction() as transaction:
            lessons = [await self._lesson(transaction, before, outcomes, now) for before, outcomes in batch]
            befores, afters = [before for before, _ in batch], [lesson.delivery for lesson in lessons]
            if arrived := [
                str(after.id) for before, after in zip(befores, afters, strict=True) if at_last(before, after)
            ]:
                await transaction.outbox.settle(OutboxKind.RESEND_DELIVERY, arrived, now)
            await transaction.deliveries.learn_all(lessons)
            await self._review(transaction, befores, afters, now)

    async def _lesson(
        self, transaction: Transaction, before: Delivery, outcomes: Sequence[Outcome] | None, now: datetime
    ) -> Lesson:
        if outcomes is None:
            return Lesson(delivery=before, attempts=(), check_at=next_check(before, now))
        outcome = await outcome_of(transaction, before, outcomes)
        attempts = outcome.attempts if outcome else ()
        after = before.learned(attempts, outcome.next_retry_at if outcome else None, now)
        if not under_way(after, now) and await self._over(transaction, after, now):
            given_up = DeliveryStatus.FAILED if after.attempt_count else DeliveryStatus.SKIPPED
            after = replace(after, status=given_up, next_retry_at=None)
        return Lesson(delivery=after, attempts=attempts, check_at=next_check(after, now))

    async def _over(self, transaction: Transaction, delivery: Delivery, now: datetime) -> bool:
        """Nothing more will be tried: its endpoint is gone, or was switched off when its turn came. The webhook
        service does not say so: it forgets the attempt and keeps its time.
        """
        if delivery.status.final:
            return False
        endpoint = await transaction.endpoints.get(delivery.endpoint_id)
        if endpoint is None:
            return False
        waits = delivery.next_retry_at is not None and delivery.next_retry_at > now
        return endpoint.deleted_at is not None or not (endpoint.enabled or waits)

    async def _review(
        self, transaction: Transaction, befores: Sequence[Delivery], afters: Sequence[Delivery], now: datetime
    ) -> None:
        """A delivery that has failed for good is for a person to look at, until it gets there after all."""
        kind = ReviewKind.DELIVERY_EXHAUSTED
        changed = [after for before, after in zip(befores, afters, strict=True) if before.status is not after.status]
        tell_of_deliveries(transaction, changed)
        for after in changed:
            if after.status is DeliveryStatus.FAILED:
                reason = f"{after.attempt_count} attempts failed; the last answer was {after.response_code or 'none'}."
                await transaction.reviews.add(Review.opened(kind, str(after.id), after.partner_id, reason, now))
        if delivered := [str(after.id) for after in changed if after.status is DeliveryStatus.DELIVERED]:
            await transaction.reviews.settle_all(kind, delivered, "Delivered after all.", now)


def at_last(before: Delivery, after: Delivery) -> bool:
    """It arrived while it may have been owed once more: what was owed is paid."""
    return before.status is DeliveryStatus.RETRYING and after.status is DeliveryStatus.DELIVERED


def young_groups(batch: Sequence[Delivery], now: datetime) -> Sequence[Sequence[Delivery]]:
    """The deliveries that were opened just now and not tried yet as far as we know, by endpoint; none alone."""
    groups: dict[str, list[Delivery]] = {}
    for delivery in batch:
        if not delivery.attempt_count and now - delivery.created_at < YOUNG:
            groups.setdefault(delivery.endpoint_id, []).append(delivery)
    return [group for group in groups.values() if len(group) > 1]


async def outcome_of(transaction: Transaction, delivery: Delivery, outcomes: Sequence[Outcome]) -> Outcome | None:
    """An endpoint that was deleted since goes by the service's own id there."""
    known = {outcome.endpoint_id: outcome for outcome in outcomes}
    if delivery.endpoint_id in known or not known:
        return known.get(delivery.endpoint_id)
    endpoint = await transaction.endpoints.get(delivery.endpoint_id)
    return known.get(endpoint.svix_endpoint_id or "") if endpoint else None


def under_way(delivery: Delivery, now: datetime) -> bool:
    """Whether an attempt may be running; what it brings is told only when it has ended."""
    began = delivery.next_retry_at or (None if delivery.attempt_count else delivery.created_at)
    return began is not None and began <= now <= began + LONGEST_ATTEMPT


def next_check(delivery: Delivery, now: datetime) -> datetime | None:
    """When to ask again: just after the next retry; for a young one soon, for an older one later."""
    if delivery.status.final:
        return None
    if delivery.next_retry_at and delivery.next_retry_at > now:
        return min(delivery.next_retry_at + SOONEST, now + LATEST)
    latest = LONGEST_ATTEMPT if under_way(delivery, now) else LATEST
    return now + min(max((now - delivery.created_at) / 4, SOONEST), latest)
