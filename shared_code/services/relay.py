"""The outbox relay: makes the calls to the webhook service that committed changes still owe.

It runs right after a commit and by a timer. A crash at any point repeats a call under the same
idempotency key, so nothing is lost and nothing is sent twice (design.md flow 2; facts/security.md 2.16).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code import errors
from shared_code.model import Delivery, DeliveryStatus, EndpointState, Event, OutboxItem, OutboxKind, Review, ReviewKind
from shared_code.ports import Cipher, Clock, EventKey, MessageLost, Refused, Store, Transaction, WebhookService
from shared_code.services.pace import Pace, pause
from shared_code.services.telling import tell_of_deliveries

LEASE = timedelta(seconds=30)
BATCH = 50
AT_ONCE = 16
"""Calls to the webhook service under way at one time."""
PATIENCE = 4.0
"""Seconds a request waits for its own item; after that the timer is the owner."""
ONE_MOMENT = timedelta(seconds=1)
"""After an event is sent, until its outcome is first asked for: most are delivered by then."""
ONE_ATTEMPT = timedelta(seconds=3)
SECRET_FIELD = "webhook_endpoints.secret"  # noqa: S105 - the name of a field

logger = logging.getLogger("pinksync.relay")


@dataclass(slots=True)
class Outcomes:
    """What became of a batch; stored in one transaction."""

    done: list[OutboxItem] = field(default_factory=list[OutboxItem])
    postponed: list[tuple[OutboxItem, str]] = field(default_factory=list[tuple[OutboxItem, str]])
    buried: list[tuple[OutboxItem, str]] = field(default_factory=list[tuple[OutboxItem, str]])

    @property
    def finished(self) -> int:
        return len(self.done) + len(self.buried)


@dataclass(eq=False, slots=True)
class Relay:
    store: Store
    service: WebhookService
    cipher: Cipher
    now: Clock
    pace: Pace = field(default_factory=Pace)
    _running: asyncio.Task[int] | None = None
    _again: bool = False

    async def work_now(self, items: Sequence[int]) -> None:
        """These items, before the answer, within PATIENCE. Whatever happens, they stay owed until done."""
        try:
            async with asyncio.timeout(PATIENCE):
                if not await self.work(only=items):  # they wait for something owed before them
                    await self._drain()
        except (TimeoutError, errors.PinkSyncError) as error:
            logger.warning("relay left %d items to the timer: %s", len(items), type(error).__name__)

    async def nudge(self) -> None:
        """Starts a drain if none is running. The answer does not wait for it; the timer owns what it leaves."""
        self._again = True
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._drain_quietly())

    async def drain(self) -> int:
        """Works until nothing is due. Answers how many items are done with. One that is running is joined."""
        if self._running and not self._running.done():
            self._again = True
            return await asyncio.shield(self._running)
        return await self._drain()

    async def _drain(self) -> int:
        total, outcomes = 0, Outcomes()
        while items := await self._next(outcomes):
            began = time.monotonic()
            outcomes = await self._call_all(items)
            total += outcomes.finished
            await self.pace.rest(time.monotonic() - began)
        return total

    async def close(self) -> None:
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def work(self, only: Sequence[int] | None = None) -> int:
        """One batch: claim, call, store what became of it. Answers how many were done or buried."""
        async with self.store.transaction() as transaction:
            items = await transaction.outbox.claim(self.now(), LEASE, BATCH, only)
        outcomes = await self._call_all(items)
        if items:
            async with self.store.transaction() as transaction:
                await self._store(transaction, outcomes)
        return outcomes.finished

    async def _next(self, outcomes: Outcomes) -> Sequence[OutboxItem]:
        """What became of the last batch is stored, and the next one claimed, in one transaction."""
        async with self.store.transaction() as transaction:
            await self._store(transaction, outcomes)
            return await transaction.outbox.claim(self.now(), LEASE, BATCH)

    async def _call_all(self, items: Sequence[OutboxItem]) -> Outcomes:
        events = await self._events([key_of(item) for item in items if item.kind is OutboxKind.SEND_EVENT])
        outcomes, calling = Outcomes(), asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._call(item, events, calling, outcomes) for item in items))
        return outcomes

    async def _events(self, keys: Sequence[EventKey]) -> Mapping[EventKey, Event]:
        if not keys:
            return {}
        async with self.store.reading() as reading:
            return await reading.events.to_send(keys)

    async def _drain_quietly(self) -> int:
        total = 0
        try:
            while self._again:
                self._again = False
                total += await self._drain()
        except errors.PinkSyncError as error:
            logger.warning("relay stopped; the timer goes on: %s", error.code)
        return total

    async def _call(
        self, item: OutboxItem, events: Mapping[EventKey, Event], calling: asyncio.Semaphore, outcomes: Outcomes
    ) -> None:
        async with calling:
            try:
                if item.kind is OutboxKind.SEND_EVENT:
                    if event := events.get(key_of(item)):  # else it was cleared, or its partner deleted, before
                        await self.service.send(event)
                else:
                    await self._handlers[item.kind](item)
                outcomes.done.append(item)
            except Refused as refusal:
                logger.error("outbox item %d (%s) is refused for good: %s", item.id, item.kind.value, refusal)
                outcomes.buried.append((item, str(refusal)))
            except errors.PinkSyncError as error:
                outcomes.postponed.append((item, error.code))

    async def _store(self, transaction: Transaction, outcomes: Outcomes) -> None:
        now = self.now()
        if outcomes.done:
            await transaction.outbox.done([item.id for item in outcomes.done], now)
        if sent := [key_of(item) for item in outcomes.done if item.kind is OutboxKind.SEND_EVENT]:
            await transaction.deliveries.sent(sent, now + ONE_MOMENT)
        for item, reason in outcomes.postponed:
            await transaction.outbox.postpone(item.id, now + pause(item.attempts), reason)
        for item, reason in outcomes.buried:
            await transaction.outbox.bury(item.id, now, reason)
            await transaction.reviews.add(refused(item, reason, now))

    @property
    def _handlers(self) -> Mapping[OutboxKind, Callable[[OutboxItem], Awaitable[None]]]:
        return {
            OutboxKind.OPEN_ENDPOINT: self._open_endpoint,
            OutboxKind.PUT_ENDPOINT: self._put_endpoint,
            OutboxKind.CLOSE_ENDPOINT: self._close_endpoint,
            OutboxKind.RESEND_DELIVERY: self._resend_delivery,
            OutboxKind.CLOSE_PARTNER: self._close_partner,
            OutboxKind.PUT_EVENT_TYPE: self._put_event_type,
        }

    async def _open_endpoint(self, item: OutboxItem) -> None:
        async with self.store.reading() as reading:
            endpoint = await reading.endpoints.get(item.subject)
        if endpoint is None or endpoint.deleted_at or not endpoint.secret_encrypted:
            return
        secret = self.cipher.open(endpoint.secret_encrypted, str(endpoint.partner_id), SECRET_FIELD).decode()
        try:
            known_as = await self.service.open_endpoint(endpoint, secret)
        except Refused:
            await self._mark(endpoint.endpoint_id, EndpointState.REFUSED, None)
            raise
        await self._mark(endpoint.endpoint_id, EndpointState.REGISTERED, known_as)

    async def _mark(self, endpoint_id: str, state: EndpointState, known_as: str | None) -> None:
        """From now on the webhook service alone holds the secret."""
        async with self.store.transaction() as transaction:
            endpoint = await transaction.endpoints.get(endpoint_id, lock=True)
            if endpoint:
                marked = replace(endpoint, state=state, svix_endpoint_id=known_as, secret_encrypted=None)
                await transaction.endpoints.save(replace(marked, updated_at=self.now()))

    async def _put_endpoint(self, item: OutboxItem) -> None:
        async with self.store.reading() as reading:
            endpoint = await reading.endpoints.get(item.subject)
        if endpoint and not endpoint.deleted_at:
            await self.service.put_endpoint(endpoint)

    async def _close_endpoint(self, item: OutboxItem) -> None:
        async with self.store.reading() as reading:
            endpoint = await reading.endpoints.get(item.subject)
        if endpoint:
            await self.service.close_endpoint(endpoint)

    async def _resend_delivery(self, item: OutboxItem) -> None:
        delivery_id = UUID(item.subject)
        async with self.store.reading() as reading:
            delivery = await reading.deliveries.get(delivery_id)
            endpoint = await reading.endpoints.get(delivery.endpoint_id) if delivery else None
            if delivery is None or endpoint is None or endpoint.deleted_at:
                return
            if delivery.status is DeliveryStatus.DELIVERED and not await owed(reading, delivery):
                return  # it arrived since this was claimed, with another's replay or by itself
        try:
            await self.service.resend(delivery)
        except MessageLost as lost:
            await self._lose(delivery)
            raise Refused("the webhook service no longer has this message") from lost
        async with self.store.transaction() as transaction:
            await transaction.deliveries.check(delivery.partner_id, delivery.event_id, self.now())
            if delivery.status is DeliveryStatus.DELIVERED:  # finished; asked for once more, for the log's sake
                await transaction.deliveries.again(delivery.id, self.now() + ONE_ATTEMPT)

    async def _lose(self, delivery: Delivery) -> None:
        """It cannot be sent again. Raises WebhookServiceUnavailable while its event is still to be sent at all."""
        async with self.store.transaction() as transaction:
            if await transaction.outbox.owes(OutboxKind.SEND_EVENT, delivery.partner_id, delivery.event_id):
                raise errors.WebhookServiceUnavailable()
            if delivery.status is not DeliveryStatus.DELIVERED:
                failed = replace(delivery, status=DeliveryStatus.FAILED, next_retry_at=None)
                await transaction.deliveries.learn(failed, (), None)
                tell_of_deliveries(transaction, [failed])

    async def _close_partner(self, item: OutboxItem) -> None:
        if item.partner_id:
            await self.service.close_partner(item.partner_id)

    async def _put_event_type(self, item: OutboxItem) -> None:
        async with self.store.reading() as reading:
            event_type = await reading.event_types.get(item.subject)
        if event_type:
            await self.service.put_event_type(event_type)


def key_of(item: OutboxItem) -> EventKey:
    """Of an item that is an event to send; those always have a partner."""
    assert item.partner_id, "an event is some partner's"  # noqa: S101
    return item.partner_id, item.subject


async def owed(transaction: Transaction, delivery: Delivery) -> bool:
    """Is it to be sent once more?"""
    return await transaction.outbox.owes(OutboxKind.RESEND_DELIVERY, delivery.partner_id, str(delivery.id))


def refused(item: OutboxItem, reason: str, now: datetime) -> Review:
    reason = f"{item.kind.value} {item.subject}: {reason}"
    return Review.opened(ReviewKind.OUTBOX_REFUSED, str(item.id), item.partner_id, reason, now)
