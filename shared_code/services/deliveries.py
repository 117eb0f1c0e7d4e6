"""The delivery log: read back, and what is in it sent once more (design.md flow 2)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from shared_code import errors
from shared_code.model import (
    Attempt,
    Caller,
    Delivery,
    DeliveryStatus,
    Endpoint,
    Json,
    Listing,
    OutboxKind,
    Page,
)
from shared_code.ports import Clock, DeliveryFilter, Store, Transaction, WebhookService
from shared_code.services.audit import Fact, note
from shared_code.services.reconcile import Reconciler
from shared_code.services.relay import Relay, owed

MOST_RECOVERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    delivery: Delivery
    payload: Json | None
    """None: it was cleared after its time."""
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class DeliveryService:
    store: Store
    service: WebhookService
    relay: Relay
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
        return DeliveryReport(delivery=delivery, payload=event.payload if event else None, attempts=attempts)

    async def retry(self, caller: Caller, delivery_id: UUID, *, force: bool) -> Delivery:
        """Owed to the webhook service from now on: one more attempt. A delivered one only with force.

        Asked for again before that attempt was made, it is still one.
        """
        now = self.now()
        async with self.store.transaction() as transaction:
            delivery = await transaction.deliveries.get(delivery_id, lock=True)
            if delivery is None:
                raise errors.NotFound()
            caller.reach(delivery.partner_id)
            if delivery.status is DeliveryStatus.DELIVERED and not force:
                raise errors.Conflict('It is delivered; to send it again say `{"force": true}`.')
            event = await transaction.events.get(delivery.partner_id, delivery.event_id)
            if event is None or event.payload is None:
                raise errors.Gone("Its payload was cleared after its time; it cannot be sent again.")
            endpoint = await transaction.endpoints.get(delivery.endpoint_id)
            if endpoint is None or endpoint.deleted_at or not endpoint.enabled:
                raise errors.Conflict("Its endpoint is disabled or gone; enable it first.")
            if delivery.retried_just_now(now) or await owed(transaction, delivery):
                return delivery
            await self._owe(transaction, delivery.partner_id, [delivery_id], now)
            await note(transaction, caller, retried_fact(delivery), now)
        return delivery

    async def recover(
        self,
        caller: Caller,
        endpoint: Endpoint,
        since: datetime,
        until: datetime,
        *,
        dry: bool,
        most: int = MOST_RECOVERED,
    ) -> int:
        """How many failed and skipped deliveries of the period are owed again; with `dry`, would be."""
        now = self.now()
        async with self.store.transaction() as transaction:
            found = await transaction.deliveries.failed(endpoint.endpoint_id, since, until, most, lock=not dry)
            if dry or not found:
                return len(found)
            await self._owe(transaction, endpoint.partner_id, found, now)
            await note(transaction, caller, recovered_fact(endpoint, len(found), since, until), now)
        return len(found)

    async def ask_soon(self, partner_id: UUID, event_id: str) -> None:
        """A hint that something became of this event."""
        async with self.store.transaction() as transaction:
            await transaction.deliveries.check(partner_id, event_id, self.now())

    async def retry_many(self, caller: Caller, wanted: DeliveryFilter) -> int:
        """Each failed or skipped one that can be sent again is owed again, the oldest MOST_RECOVERED: how many."""
        now = self.now()
        async with self.store.transaction() as transaction:
            found = await transaction.deliveries.to_retry(wanted, MOST_RECOVERED)
            if found:
                partners = [delivery.partner_id for delivery in found]
                await self._owe_all(transaction, partners, [delivery.id for delivery in found], now)
                await note(transaction, caller, retried_many_fact(wanted, len(found)), now)
        return len(found)

    async def _owe(self, transaction: Transaction, partner_id: UUID, ids: Sequence[UUID], now: datetime) -> None:
        await self._owe_all(transaction, [partner_id] * len(ids), ids, now)

    async def _owe_all(
        self, transaction: Transaction, partners: Sequence[UUID], ids: Sequence[UUID], now: datetime
    ) -> None:
        await transaction.deliveries.again_all(ids, now)
        await transaction.outbox.add_each(OutboxKind.RESEND_DELIVERY, partners, [str(each) for each in ids], now)
        transaction.after_commit(self.relay.nudge)

    async def reconcile(self) -> int:
        """Learns the outcome of every delivery that is due. Answers how many were asked for."""
        return await Reconciler(self.store, self.service, self.now).run()


def retried_fact(delivery: Delivery) -> Fact:
    return Fact(
        event_type="webhook_delivery.retried",
        message="A delivery is sent once more.",
        target=str(delivery.id),
        partner_id=delivery.partner_id,
    )


def retried_many_fact(wanted: DeliveryFilter, count: int) -> Fact:
    chosen = {name: str(value) for name, value in asdict(wanted).items() if value is not None}
    return Fact(
        event_type="webhook_deliveries.retried",
        message=f"{count} failed or skipped deliveries are sent once more.",
        target="webhook_deliveries",
        partner_id=wanted.partner_id,
        changes={**chosen, "count": count},
    )


def recovered_fact(endpoint: Endpoint, count: int, since: datetime, until: datetime) -> Fact:
    return Fact(
        event_type="webhook_endpoint.recovered",
        message=f"{count} failed or skipped deliveries are sent once more.",
        target=endpoint.endpoint_id,
        partner_id=endpoint.partner_id,
        changes={"since": since.isoformat(), "until": until.isoformat(), "count": count},
    )
