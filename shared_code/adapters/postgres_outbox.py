"""The outbox in PostgreSQL: claimed with SKIP LOCKED, held by a lease in `not_before`.

What is to be claimed is looked for once, as ARRAY(...): in a plain IN the planner may look again for each row, and
then LIMIT limits nothing. So it is in the inbox and the delivery log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection
from shared_code.model import OutboxItem, OutboxKind


@dataclass(frozen=True, slots=True)
class PostgresOutbox:
    connection: Connection

    async def add(self, kind: OutboxKind, partner_id: UUID | None, subject: str, now: datetime) -> int:
        added = await self.connection.execute(
            """INSERT INTO outbox (kind, partner_id, subject, not_before, created_at)
               VALUES (%s, %s, %s, %s, %s) RETURNING id""",
            (kind, partner_id, subject, now, now),
        )
        row = await added.fetchone()
        assert row, "INSERT RETURNING always answers a row"  # noqa: S101
        return row["id"]

    async def add_all(self, kind: OutboxKind, partner_ids: Sequence[UUID], subject: str, now: datetime) -> None:
        await self.connection.execute(
            """INSERT INTO outbox (kind, partner_id, subject, not_before, created_at)
               SELECT %s, partner_id, %s, %s, %s FROM unnest(%s::uuid[]) AS owed (partner_id)""",
            (kind, subject, now, now, list(partner_ids)),
        )

    async def add_each(
        self, kind: OutboxKind, partner_ids: Sequence[UUID], subjects: Sequence[str], now: datetime
    ) -> None:
        await self.connection.execute(
            """INSERT INTO outbox (kind, partner_id, subject, not_before, created_at)
               SELECT %s, partner_id, subject, %s, %s
               FROM unnest(%s::uuid[], %s::text[]) AS owed (partner_id, subject)""",
            (kind, now, now, list(partner_ids), list(subjects)),
        )

    async def owes(self, kind: OutboxKind, partner_id: UUID, subject: str) -> bool:
        found = await self.connection.execute(
            """SELECT 1 FROM outbox WHERE kind = %s AND partner_id = %s AND subject = %s
                 AND done_at IS NULL AND buried_at IS NULL LIMIT 1""",
            (kind, partner_id, subject),
        )
        return await found.fetchone() is not None

    async def claim(
        self, now: datetime, lease: timedelta, limit: int, only: Sequence[int] | None = None
    ) -> Sequence[OutboxItem]:
        found = await self.connection.execute(
            """UPDATE outbox SET not_before = %(until)s, attempts = attempts + 1 WHERE id = ANY (ARRAY(
                 SELECT id FROM outbox o
                 WHERE done_at IS NULL AND buried_at IS NULL AND not_before <= %(now)s
                   AND (%(only)s::bigint[] IS NULL OR id = ANY (%(only)s))
                   AND NOT (kind = 'event.send' AND EXISTS (
                     SELECT FROM outbox setup
                     WHERE setup.partner_id = o.partner_id AND setup.id < o.id
                       AND setup.kind NOT IN ('event.send', 'delivery.resend')
                       AND setup.done_at IS NULL AND setup.buried_at IS NULL))
                   AND NOT (kind IN ('endpoint.put', 'endpoint.close') AND EXISTS (
                     SELECT FROM outbox earlier
                     WHERE earlier.partner_id = o.partner_id AND earlier.subject = o.subject AND earlier.id < o.id
                       AND earlier.done_at IS NULL AND earlier.buried_at IS NULL))
                   AND NOT (kind = 'partner.close' AND EXISTS (
                     SELECT FROM outbox earlier
                     WHERE earlier.partner_id = o.partner_id AND earlier.id < o.id
                       AND earlier.kind NOT IN ('event.send', 'delivery.resend')
                       AND earlier.done_at IS NULL AND earlier.buried_at IS NULL))
                   AND NOT (kind = 'endpoint.open' AND EXISTS (
                     SELECT FROM outbox setup
                     WHERE setup.kind = 'event_type.put' AND setup.id < o.id
                       AND setup.done_at IS NULL AND setup.buried_at IS NULL))
                 ORDER BY not_before, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
               RETURNING id, kind, partner_id, subject, attempts, created_at""",
            {
                "now": now,
                "until": now + lease,
                "limit": limit,
                "only": list(only) if only is not None else None,
            },
        )
        rows = await found.fetchall()
        return [OutboxItem(kind=OutboxKind(row.pop("kind")), **row) for row in sorted(rows, key=itemgetter("id"))]

    async def done(self, item_ids: Sequence[int], now: datetime) -> None:
        await self.connection.execute(
            "UPDATE outbox SET done_at = %s, last_error = NULL WHERE id = ANY (%s) AND done_at IS NULL",
            (now, list(item_ids)),
        )

    async def settle(self, kind: OutboxKind, subjects: Sequence[str], now: datetime) -> None:
        await self.connection.execute(
            """UPDATE outbox SET done_at = %s WHERE kind = %s AND subject = ANY (%s)
                 AND done_at IS NULL AND buried_at IS NULL""",
            (now, kind, list(subjects)),
        )

    async def postpone(self, item_id: int, until: datetime, reason: str) -> None:
        await self.connection.execute(
            "UPDATE outbox SET not_before = %s, last_error = %s WHERE id = %s AND done_at IS NULL",
            (until, reason, item_id),
        )

    async def bury(self, item_id: int, now: datetime, reason: str) -> None:
        await self.connection.execute(
            "UPDATE outbox SET buried_at = %s, last_error = %s WHERE id = %s AND done_at IS NULL",
            (now, reason, item_id),
        )

    async def revive(self, item_id: int, now: datetime) -> None:
        await self.connection.execute(
            """UPDATE outbox SET buried_at = NULL, attempts = 0, not_before = %s
               WHERE id = %s AND done_at IS NULL AND buried_at IS NOT NULL""",
            (now, item_id),
        )

    async def backlog(self) -> Mapping[str, int]:
        found = await self.connection.execute(
            """SELECT count(*) FILTER (WHERE buried_at IS NULL) AS owed,
                      count(*) FILTER (WHERE buried_at IS NOT NULL) AS buried
               FROM outbox WHERE done_at IS NULL"""
        )
        return await found.fetchone() or {}
