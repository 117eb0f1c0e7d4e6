"""Deliveries and their attempts in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import sql

from shared_code.adapters.postgres_rows import Connection, Where, listing
from shared_code.model import Attempt, Delivery, DeliveryStatus, Event, Listing, Page
from shared_code.ports import DeliveryFilter, EventKey, Lesson

COLUMNS = """delivery_id, partner_id, event_id, event_type, endpoint_id, status, response_code, attempt_count,
  max_attempts, next_retry_at, delivered_at, created_at"""


@dataclass(frozen=True, slots=True)
class PostgresDeliveries:
    connection: Connection

    async def open(self, event: Event, max_attempts: int) -> int:
        return await self.open_all(event, [event.partner_id], max_attempts)

    async def open_all(self, event: Event, partner_ids: Sequence[UUID], max_attempts: int) -> int:
        opened = await self.connection.execute(
            """INSERT INTO webhook_deliveries
                 (partner_id, endpoint_id, event_id, event_type, max_attempts, status, created_at)
               SELECT partner_id, endpoint_id, %(event_id)s, %(event_type)s, %(max_attempts)s,
                      CASE WHEN enabled THEN 'pending' ELSE 'skipped' END, %(now)s
               FROM webhook_endpoints
               WHERE partner_id = ANY (%(partner_ids)s) AND deleted_at IS NULL AND state <> 'refused'
                 AND %(event_type)s = ANY (events)""",
            {
                "partner_ids": list(partner_ids),
                "event_id": event.event_id,
                "event_type": event.event_type,
                "max_attempts": max_attempts,
                "now": event.created_at,
            },
        )
        return opened.rowcount

    async def clear_answers(self, before: datetime, limit: int) -> int:
        cleared = await self.connection.execute(
            """UPDATE webhook_attempts SET response_body = '' WHERE attempt_id = ANY (ARRAY(
                 SELECT attempt_id FROM webhook_attempts WHERE response_body <> '' AND at < %s
                 ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED))""",
            (before, limit),
        )
        return cleared.rowcount

    async def get(self, delivery_id: UUID, *, lock: bool = False) -> Delivery | None:
        held = "FOR UPDATE" if lock else ""
        found = await self.connection.execute(
            f"SELECT {COLUMNS} FROM webhook_deliveries WHERE delivery_id = %s {held}",  # noqa: S608 - literals only
            (delivery_id,),
        )
        row = await found.fetchone()
        return from_row(row) if row else None

    async def list(self, wanted: DeliveryFilter, page: Page) -> Listing[Delivery]:
        return await listing(self.connection, COLUMNS, "webhook_deliveries", conditions(wanted), page, from_row)

    async def attempts(self, delivery_id: UUID) -> Sequence[Attempt]:
        found = await self.connection.execute(
            """SELECT a.attempt_id, d.endpoint_id, a.at, a.response_code, a.response_body, a.duration_ms, a.error
               FROM webhook_attempts a JOIN webhook_deliveries d USING (delivery_id)
               WHERE delivery_id = %s ORDER BY a.at, a.attempt_id""",
            (delivery_id,),
        )
        return [Attempt(**row) async for row in found]

    async def failed(
        self, endpoint_id: str, since: datetime, until: datetime, limit: int, *, lock: bool = False
    ) -> Sequence[UUID]:
        held = "FOR UPDATE OF d" if lock else ""
        found = await self.connection.execute(
            f"""SELECT delivery_id FROM webhook_deliveries d JOIN events e USING (partner_id, event_id)
               WHERE endpoint_id = %s AND status IN ('failed', 'skipped') AND payload IS NOT NULL
                 AND d.created_at >= %s AND d.created_at < %s
               ORDER BY d.created_at, d.id LIMIT %s {held}""",  # noqa: S608 - literals only
            (endpoint_id, since, until, limit),
        )
        return [row["delivery_id"] async for row in found]

    async def to_retry(self, wanted: DeliveryFilter, limit: int) -> Sequence[Delivery]:
        chosen = conditions(wanted)
        found = await self.connection.execute(
            sql.SQL(
                """SELECT {} FROM webhook_deliveries d WHERE {} AND status IN ('failed', 'skipped')
                     AND EXISTS (SELECT FROM events e WHERE e.partner_id = d.partner_id AND e.event_id = d.event_id
                                 AND payload IS NOT NULL)
                     AND EXISTS (SELECT FROM webhook_endpoints p WHERE p.endpoint_id = d.endpoint_id AND enabled
                                 AND deleted_at IS NULL)
                   ORDER BY created_at, id LIMIT %(limit)s FOR UPDATE OF d"""
            ).format(sql.SQL(COLUMNS), chosen.clause()),
            {**chosen.values, "limit": limit},
        )
        return [from_row(row) for row in await found.fetchall()]

    async def again(self, delivery_id: UUID, now: datetime) -> None:
        await self.again_all([delivery_id], now)

    async def again_all(self, delivery_ids: Sequence[UUID], now: datetime) -> None:
        await self.connection.execute(
            """UPDATE webhook_deliveries SET check_at = %(now)s,
                 next_retry_at = CASE WHEN status IN ('failed', 'skipped') THEN %(now)s ELSE next_retry_at END,
                 status = CASE WHEN status IN ('failed', 'skipped') THEN 'retrying' ELSE status END
               WHERE delivery_id = ANY (%(ids)s)""",
            {"now": now, "ids": list(delivery_ids)},
        )

    async def check(self, partner_id: UUID, event_id: str, now: datetime) -> None:
        await self.connection.execute(
            """UPDATE webhook_deliveries SET check_at = %s
               WHERE partner_id = %s AND event_id = %s AND status <> 'delivered'""",
            (now, partner_id, event_id),
        )

    async def check_endpoint(self, endpoint_id: str, now: datetime) -> None:
        await self.connection.execute(
            "UPDATE webhook_deliveries SET check_at = %s WHERE endpoint_id = %s AND status = 'retrying'",
            (now, endpoint_id),
        )

    async def due(self, now: datetime, limit: int, lease: timedelta) -> Sequence[Delivery]:
        found = await self.connection.execute(
            f"""UPDATE webhook_deliveries SET check_at = %(until)s WHERE id = ANY (ARRAY(
                  SELECT id FROM webhook_deliveries WHERE check_at <= %(now)s
                  ORDER BY check_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
                RETURNING {COLUMNS}""",  # noqa: S608 - literals only
            {"now": now, "until": now + lease, "limit": limit},
        )
        return [from_row(row) async for row in found]

    async def sent(self, keys: Sequence[EventKey], check_at: datetime) -> None:
        await self.connection.execute(
            """UPDATE webhook_deliveries d SET check_at = %s
               FROM unnest(%s::uuid[], %s::text[]) AS sent (partner_id, event_id)
               WHERE d.partner_id = sent.partner_id AND d.event_id = sent.event_id
                 AND status = 'pending' AND check_at IS NULL""",
            (check_at, [partner_id for partner_id, _ in keys], [event_id for _, event_id in keys]),
        )

    async def learn(self, delivery: Delivery, attempts: Sequence[Attempt], check_at: datetime | None) -> None:
        await self.learn_all([Lesson(delivery=delivery, attempts=attempts, check_at=check_at)])

    async def learn_all(self, lessons: Sequence[Lesson]) -> None:
        await self._put([lesson.delivery for lesson in lessons], [lesson.check_at for lesson in lessons])
        await self._add_attempts([(lesson.delivery.id, each) for lesson in lessons for each in lesson.attempts])

    async def _put(self, news: Sequence[Delivery], checks: Sequence[datetime | None]) -> None:
        """A delivered one stays as it is, but for the count of its attempts and when to ask again."""
        await self.connection.execute(
            """UPDATE webhook_deliveries d SET check_at = new.check_at,
                 status = CASE WHEN d.status = 'delivered' THEN d.status ELSE new.status END,
                 response_code = CASE WHEN d.status = 'delivered' THEN d.response_code ELSE new.response_code END,
                 attempt_count = new.attempt_count,
                 next_retry_at = CASE WHEN d.status = 'delivered' THEN d.next_retry_at ELSE new.next_retry_at END,
                 delivered_at = CASE WHEN d.status = 'delivered' THEN d.delivered_at ELSE new.delivered_at END
               FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::int[], %s::timestamptz[], %s::timestamptz[],
                           %s::timestamptz[])
                      AS new (id, status, response_code, attempt_count, next_retry_at, delivered_at, check_at)
               WHERE d.delivery_id = new.id AND d.attempt_count <= new.attempt_count""",
            (
                [each.id for each in news],
                [each.status.value for each in news],
                [each.response_code for each in news],
                [each.attempt_count for each in news],
                [each.next_retry_at for each in news],
                [each.delivered_at for each in news],
                list(checks),
            ),
        )

    async def _add_attempts(self, made: Sequence[tuple[UUID, Attempt]]) -> None:
        if not made:
            return
        await self.connection.execute(
            """INSERT INTO webhook_attempts
                 (attempt_id, delivery_id, at, response_code, response_body, duration_ms, error)
               SELECT * FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[], %s::int[], %s::text[], %s::int[],
                                    %s::text[])
               ON CONFLICT DO NOTHING""",
            (
                [each.attempt_id for _, each in made],
                [delivery_id for delivery_id, _ in made],
                [each.at for _, each in made],
                [each.response_code for _, each in made],
                [each.response_body for _, each in made],
                [each.duration_ms for _, each in made],
                [each.error for _, each in made],
            ),
        )


def conditions(wanted: DeliveryFilter) -> Where:
    return (
        Where()
        .when("partner_id = %(partner_id)s", partner_id=wanted.partner_id)
        .when("status = %(status)s", status=wanted.status)
        .when("event_type = %(event_type)s", event_type=wanted.event_type)
        .when("endpoint_id = %(endpoint_id)s", endpoint_id=wanted.endpoint_id)
        .when("event_id = %(event_id)s", event_id=wanted.event_id)
        .when("created_at >= %(since)s", since=wanted.since)
        .when("created_at < %(until)s", until=wanted.until)
    )


def from_row(row: Mapping[str, Any]) -> Delivery:
    return Delivery(
        id=row["delivery_id"],
        partner_id=row["partner_id"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        endpoint_id=row["endpoint_id"],
        status=DeliveryStatus(row["status"]),
        response_code=row["response_code"],
        attempt_count=row["attempt_count"],
        max_attempts=row["max_attempts"],
        next_retry_at=row["next_retry_at"],
        delivered_at=row["delivered_at"],
        created_at=row["created_at"],
    )
