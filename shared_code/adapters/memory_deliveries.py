"""Deliveries and their attempts in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from shared_code.adapters.memory_rows import Row, View, in_period, listing, wanted
from shared_code.model import Attempt, Delivery, DeliveryStatus, Endpoint, EndpointState, Event, Listing, Page
from shared_code.ports import DeliveryFilter, EventKey, Lesson


@dataclass(frozen=True, slots=True)
class Watched:
    """A delivery, and when its outcome is to be asked for."""

    delivery: Delivery
    check_at: datetime | None


@dataclass(frozen=True, slots=True)
class MemoryDeliveries:
    deliveries: View[UUID, Watched]
    opened: View[tuple[UUID, str, str], UUID]
    """The delivery of each partner's event to each endpoint."""
    tries: View[str, tuple[UUID, Attempt]]
    events: View[tuple[UUID, str], Event]
    endpoints: View[str, Endpoint]

    async def open(self, event: Event, max_attempts: int) -> int:
        wanting = [row.record for row in self.endpoints.rows() if wants(row.record, event)]
        for endpoint in wanting:
            self.events.require((event.partner_id, event.event_id))
            delivery = opened(event, endpoint, max_attempts)
            await self.opened.add((event.partner_id, event.event_id, endpoint.endpoint_id), delivery.id)
            await self.deliveries.add(delivery.id, Watched(delivery, None))
        return len(wanting)

    async def open_all(self, event: Event, partner_ids: Sequence[UUID], max_attempts: int) -> int:
        return sum([await self.open(replace(event, partner_id=each), max_attempts) for each in partner_ids])

    async def clear_answers(self, before: datetime, limit: int) -> int:
        full = [row.record for row in self.tries.rows() if row.record[1].response_body]
        old = sorted((known for known in full if known[1].at < before), key=lambda known: known[1].at)[:limit]
        for delivery_id, attempt in old:
            await self.tries.lock(attempt.attempt_id)
            self.tries.put(attempt.attempt_id, (delivery_id, replace(attempt, response_body="")))
        return len(old)

    async def get(self, delivery_id: UUID, *, lock: bool = False) -> Delivery | None:
        watched = await self.deliveries.lock(delivery_id) if lock else self.deliveries.get(delivery_id)
        return watched.delivery if watched else None

    async def list(self, wanted: DeliveryFilter, page: Page) -> Listing[Delivery]:
        rows = (Row(row.number, row.record.delivery) for row in self.deliveries.rows())
        return listing((row for row in rows if passes(wanted, row.record)), page)

    async def attempts(self, delivery_id: UUID) -> Sequence[Attempt]:
        known = [row.record[1] for row in self.tries.rows() if row.record[0] == delivery_id]
        return sorted(known, key=lambda attempt: (attempt.at, attempt.attempt_id))

    async def failed(
        self, endpoint_id: str, since: datetime, until: datetime, limit: int, *, lock: bool = False
    ) -> Sequence[UUID]:
        asked = DeliveryFilter(endpoint_id=endpoint_id, since=since, until=until)
        found = [each.id for each in self._oldest_first() if passes(asked, each) and self._can_go_again(each)][:limit]
        if lock:
            locked = [await self.get(each, lock=True) for each in found]
            return [each.id for each in locked if each and self._can_go_again(each)]
        return found

    async def to_retry(self, wanted: DeliveryFilter, limit: int) -> Sequence[Delivery]:
        found = [each for each in self._oldest_first() if passes(wanted, each) and self._has_a_way(each)][:limit]
        locked = [await self.get(each.id, lock=True) for each in found]
        return [each for each in locked if each and self._has_a_way(each)]

    def _oldest_first(self) -> Sequence[Delivery]:
        rows = sorted(self.deliveries.rows(), key=lambda row: (row.record.delivery.created_at, row.number))
        return [row.record.delivery for row in rows]

    def _has_a_way(self, delivery: Delivery) -> bool:
        endpoint = self.endpoints.get(delivery.endpoint_id)
        stands = endpoint is not None and endpoint.enabled and endpoint.deleted_at is None
        return stands and self._can_go_again(delivery)

    def _can_go_again(self, delivery: Delivery) -> bool:
        over = delivery.status in (DeliveryStatus.FAILED, DeliveryStatus.SKIPPED)
        return over and self._payload_is_there(delivery)

    def _payload_is_there(self, delivery: Delivery) -> bool:
        event = self.events.get((delivery.partner_id, delivery.event_id))
        return event is not None and event.payload is not None

    async def again_all(self, delivery_ids: Sequence[UUID], now: datetime) -> None:
        for delivery_id in delivery_ids:
            await self.again(delivery_id, now)

    async def again(self, delivery_id: UUID, now: datetime) -> None:
        watched = await self.deliveries.lock(delivery_id)
        if watched is None:
            return
        delivery = watched.delivery
        if delivery.status in (DeliveryStatus.FAILED, DeliveryStatus.SKIPPED):
            delivery = replace(delivery, status=DeliveryStatus.RETRYING, next_retry_at=now)
        self.deliveries.put(delivery_id, Watched(delivery, check_at=now))

    async def check(self, partner_id: UUID, event_id: str, now: datetime) -> None:
        for row in self.deliveries.rows():
            delivery = row.record.delivery
            if (delivery.partner_id, delivery.event_id) == (partner_id, event_id):
                watched = await self.deliveries.lock(delivery.id)
                if watched and watched.delivery.status is not DeliveryStatus.DELIVERED:
                    self.deliveries.put(delivery.id, replace(watched, check_at=now))

    async def check_endpoint(self, endpoint_id: str, now: datetime) -> None:
        for row in self.deliveries.rows():
            if row.record.delivery.endpoint_id == endpoint_id:
                watched = await self.deliveries.lock(row.record.delivery.id)
                if watched and watched.delivery.status is DeliveryStatus.RETRYING:
                    self.deliveries.put(watched.delivery.id, replace(watched, check_at=now))

    async def sent(self, keys: Sequence[EventKey], check_at: datetime) -> None:
        for row in self.deliveries.rows():
            delivery = row.record.delivery
            if (delivery.partner_id, delivery.event_id) in keys:
                watched = await self.deliveries.lock(delivery.id)
                if watched and watched.delivery.status is DeliveryStatus.PENDING and not watched.check_at:
                    self.deliveries.put(delivery.id, replace(watched, check_at=check_at))

    async def due(self, now: datetime, limit: int, lease: timedelta) -> Sequence[Delivery]:
        claimed: list[Delivery] = []
        for check_at, watched in sorted(self._unfinished(), key=lambda pair: pair[0]):
            if len(claimed) < limit and check_at <= now and self.deliveries.take(watched.delivery.id):
                self.deliveries.put(watched.delivery.id, replace(watched, check_at=now + lease))
                claimed.append(watched.delivery)
        return claimed

    def _unfinished(self) -> Sequence[tuple[datetime, Watched]]:
        rows = self.deliveries.rows()
        return [(row.record.check_at, row.record) for row in rows if row.record.check_at]

    async def learn(self, delivery: Delivery, attempts: Sequence[Attempt], check_at: datetime | None) -> None:
        known = await self.deliveries.lock(delivery.id)
        if known and known.delivery.attempt_count <= delivery.attempt_count:
            self.deliveries.put(delivery.id, Watched(learned(known.delivery, delivery), check_at))
        for attempt in attempts:
            self.deliveries.require(delivery.id)
            endpoint_id = known.delivery.endpoint_id if known else delivery.endpoint_id
            await self.tries.insert(attempt.attempt_id, (delivery.id, replace(attempt, endpoint_id=endpoint_id)))

    async def learn_all(self, lessons: Sequence[Lesson]) -> None:
        for lesson in lessons:
            await self.learn(lesson.delivery, lesson.attempts, lesson.check_at)


def wants(endpoint: Endpoint, event: Event) -> bool:
    serves = endpoint.deleted_at is None and endpoint.state is not EndpointState.REFUSED
    return serves and endpoint.partner_id == event.partner_id and event.event_type in endpoint.events


def opened(event: Event, endpoint: Endpoint, max_attempts: int) -> Delivery:
    return Delivery(
        id=uuid4(),
        partner_id=event.partner_id,
        event_id=event.event_id,
        event_type=event.event_type,
        endpoint_id=endpoint.endpoint_id,
        status=DeliveryStatus.PENDING if endpoint.enabled else DeliveryStatus.SKIPPED,
        max_attempts=max_attempts,
        created_at=event.created_at,
    )


def passes(asked: DeliveryFilter, delivery: Delivery) -> bool:
    return in_period(delivery.created_at, asked.since, asked.until) and wanted(
        (asked.partner_id, delivery.partner_id),
        (asked.status, delivery.status),
        (asked.event_type, delivery.event_type),
        (asked.endpoint_id, delivery.endpoint_id),
        (asked.event_id, delivery.event_id),
    )


def learned(known: Delivery, news: Delivery) -> Delivery:
    if known.status is DeliveryStatus.DELIVERED:
        return replace(known, attempt_count=news.attempt_count)
    return replace(
        known,
        status=news.status,
        response_code=news.response_code,
        attempt_count=news.attempt_count,
        next_retry_at=news.next_retry_at,
        delivered_at=news.delivered_at,
    )
