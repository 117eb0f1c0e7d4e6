"""The inbox and the secrets that what is in it is signed with, in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection
from shared_code.model import InboundSecret, InboxItem, Origin, RecordName, Turn

COLUMNS = "id, partner_id, message_id, body, request_id, attempts, received_at"


@dataclass(frozen=True, slots=True)
class PostgresInbox:
    connection: Connection

    async def add(self, partner_id: UUID, message_id: str, body: bytes, origin: Origin, now: datetime) -> int | None:
        added = await self.connection.execute(
            """INSERT INTO inbox (partner_id, message_id, body, request_id, not_before, received_at)
               VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (partner_id, message_id) DO NOTHING RETURNING id""",
            (partner_id, message_id, body, origin.request_id, now, now),
        )
        row = await added.fetchone()
        return row["id"] if row else None

    async def claim(self, now: datetime, lease: timedelta, limit: int) -> Sequence[InboxItem]:
        found = await self.connection.execute(
            f"""UPDATE inbox SET not_before = %(until)s, attempts = attempts + 1 WHERE id = ANY (ARRAY(
                  SELECT id FROM inbox WHERE done_at IS NULL AND buried_at IS NULL AND not_before <= %(now)s
                  ORDER BY not_before, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
                RETURNING {COLUMNS}""",  # noqa: S608 - literals only
            {"now": now, "until": now + lease, "limit": limit},
        )
        return sorted([InboxItem(**row) async for row in found], key=attrgetter("id"))

    async def get(self, item_id: int) -> InboxItem | None:
        found = await self.connection.execute(
            f"SELECT {COLUMNS} FROM inbox WHERE id = %s",  # noqa: S608 - literals only
            (item_id,),
        )
        row = await found.fetchone()
        return InboxItem(**row) if row else None

    async def done(self, item_id: int, now: datetime) -> None:
        await self.connection.execute(
            "UPDATE inbox SET done_at = %s, last_error = NULL WHERE id = %s AND done_at IS NULL", (now, item_id)
        )

    async def postpone(self, item_id: int, until: datetime, reason: str) -> None:
        await self.connection.execute(
            "UPDATE inbox SET not_before = %s, last_error = %s WHERE id = %s AND done_at IS NULL",
            (until, reason, item_id),
        )

    async def bury(self, item_id: int, now: datetime, reason: str) -> None:
        await self.connection.execute(
            "UPDATE inbox SET buried_at = %s, last_error = %s WHERE id = %s AND done_at IS NULL", (now, reason, item_id)
        )

    async def revive(self, item_id: int, now: datetime) -> None:
        await self.connection.execute(
            """UPDATE inbox SET buried_at = NULL, attempts = 0, not_before = %s
               WHERE id = %s AND done_at IS NULL AND buried_at IS NOT NULL""",
            (now, item_id),
        )

    async def take_turn(self, record: RecordName, happened_at: datetime, now: datetime, lease: timedelta) -> Turn:
        partner_id, resource, external_id = record
        named = {"partner_id": partner_id, "resource": resource, "external_id": external_id, "at": happened_at}
        taken = await self.connection.execute(
            """INSERT INTO inbound_records (partner_id, resource, external_id, happened_at, held_until)
               VALUES (%(partner_id)s, %(resource)s, %(external_id)s, %(at)s, %(until)s)
               ON CONFLICT (partner_id, resource, external_id) DO UPDATE
                 SET happened_at = excluded.happened_at, held_until = excluded.held_until
                 WHERE inbound_records.held_until <= %(now)s AND inbound_records.happened_at <= excluded.happened_at""",
            {**named, "now": now, "until": now + lease},
        )
        if taken.rowcount:
            return Turn.TAKEN
        later = await self.connection.execute(
            """SELECT 1 FROM inbound_records WHERE partner_id = %(partner_id)s AND resource = %(resource)s
                 AND external_id = %(external_id)s AND happened_at > %(at)s""",
            named,
        )
        return Turn.STALE if await later.fetchone() else Turn.HELD

    async def end_turn(self, record: RecordName, now: datetime) -> None:
        await self.connection.execute(
            """UPDATE inbound_records SET held_until = %s
               WHERE partner_id = %s AND resource = %s AND external_id = %s""",
            (now, *record),
        )


@dataclass(frozen=True, slots=True)
class PostgresInboundSecrets:
    connection: Connection

    async def add(self, secret: InboundSecret) -> None:
        await self.connection.execute(
            """INSERT INTO inbound_secrets (partner_id, secret_encrypted, expires_at, created_at)
               VALUES (%s, %s, %s, %s)""",
            (secret.partner_id, secret.secret_encrypted, secret.expires_at, secret.created_at),
        )

    async def live(self, partner_id: UUID, now: datetime) -> Sequence[InboundSecret]:
        found = await self.connection.execute(
            """SELECT partner_id, secret_encrypted, expires_at, created_at FROM inbound_secrets
               WHERE partner_id = %s AND (expires_at IS NULL OR expires_at > %s) ORDER BY id DESC""",
            (partner_id, now),
        )
        return [InboundSecret(**row) async for row in found]

    async def expire(self, partner_id: UUID, at: datetime, now: datetime) -> None:
        await self.connection.execute(
            """UPDATE inbound_secrets
               SET expires_at = least(expires_at, CASE WHEN id = newest THEN %(at)s ELSE %(now)s END)
               FROM (SELECT max(id) AS newest FROM inbound_secrets
                     WHERE partner_id = %(partner_id)s AND (expires_at IS NULL OR expires_at > %(now)s)) AS live
               WHERE partner_id = %(partner_id)s AND (expires_at IS NULL OR expires_at > %(now)s)""",
            {"partner_id": partner_id, "at": at, "now": now},
        )
