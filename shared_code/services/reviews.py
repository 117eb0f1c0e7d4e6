"""What a person must look at: each thing once, with its reason, until somebody resolves it."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from shared_code import errors
from shared_code.model import Caller, Listing, OutboxKind, Page, Review, ReviewKind
from shared_code.ports import Clock, Store, Transaction
from shared_code.services.audit import Fact, note
from shared_code.services.relay import Relay


@dataclass(frozen=True, slots=True)
class ReviewService:
    store: Store
    relay: Relay
    now: Clock

    async def list(self, page: Page, *, kind: ReviewKind | None = None, open: bool | None = None) -> Listing[Review]:
        async with self.store.reading() as reading:
            return await reading.reviews.list(page, kind=kind, open=open)

    async def resolve(self, caller: Caller, review_id: UUID, text: str, *, replay: bool) -> Review:
        """With `replay`, what failed is tried once more; without, it is over. Resolving twice is a conflict."""
        now = self.now()
        async with self.store.transaction() as transaction:
            before = await transaction.reviews.get(review_id, lock=True)
            if before is None:
                raise errors.NotFound()
            if before.resolved_at:
                raise errors.Conflict(f"{before.resolved_by} has resolved this already.")
            after = replace(before, note=text, resolved_by=caller.actor, resolved_at=now)
            await transaction.reviews.save(after)
            await note(transaction, caller, resolved_fact(after, replay=replay), now)
            if replay:
                await self._replay(transaction, after, now)
            else:
                await let_go(transaction, after, now)
        return after

    async def _replay(self, transaction: Transaction, resolved: Review, now: datetime) -> None:
        match resolved.kind:
            case ReviewKind.DELIVERY_EXHAUSTED:
                await check_payload(transaction, UUID(resolved.subject))
                await transaction.deliveries.again(UUID(resolved.subject), now)
                await transaction.outbox.add(OutboxKind.RESEND_DELIVERY, resolved.partner_id, resolved.subject, now)
                transaction.after_commit(self.relay.nudge)
            case ReviewKind.INBOUND_UNROUTABLE:
                await transaction.inbox.revive(int(resolved.subject), now)
            case ReviewKind.OUTBOX_REFUSED:
                await transaction.outbox.revive(int(resolved.subject), now)
                transaction.after_commit(self.relay.nudge)


async def let_go(transaction: Transaction, resolved: Review, now: datetime) -> None:
    """What was set aside is owed no longer, and leaves in its time."""
    match resolved.kind:
        case ReviewKind.INBOUND_UNROUTABLE:
            await transaction.inbox.done(int(resolved.subject), now)
        case ReviewKind.OUTBOX_REFUSED:
            await transaction.outbox.done([int(resolved.subject)], now)
        case ReviewKind.DELIVERY_EXHAUSTED:
            pass


async def check_payload(transaction: Transaction, delivery_id: UUID) -> None:
    delivery = await transaction.deliveries.get(delivery_id)
    event = await transaction.events.get(delivery.partner_id, delivery.event_id) if delivery else None
    if event is None or event.payload is None:
        raise errors.Gone("Its payload was cleared after its time; it cannot be sent again.")


def resolved_fact(resolved: Review, *, replay: bool) -> Fact:
    return Fact(
        event_type="review.resolved",
        message="A review was resolved" + (", and what failed is tried again." if replay else "."),
        target=str(resolved.review_id),
        partner_id=resolved.partner_id,
        changes={"kind": resolved.kind.value, "note": resolved.note, "replay": replay},
    )
