"""Events and event types in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, json_text, jsonb
from shared_code.model import Event, EventType
from shared_code.ports import EventKey


@dataclass(frozen=True, slots=True)
class PostgresEvents:
    connection: Connection

    async def add(self, event: Event) -> bool:
        return bool(await self.add_all(event, [event.partner_id]))

    async def add_all(self, event: Event, partner_ids: Sequence[UUID]) -> Sequence[UUID]:
        added = await self.connection.execute(
            """INSERT INTO events (partner_id, event_id, event_type, payload, request_id, traceparent, created_at)
               SELECT partner_id, %(event_id)s, %(event_type)s, %(payload)s, %(request_id)s, %(traceparent)s,
                      %(created_at)s
               FROM unnest(%(partner_ids)s::uuid[]) AS wanted (partner_id)
               ON CONFLICT DO NOTHING RETURNING partner_id""",
            asdict(event) | {"payload": json_text(event.payload), "partner_ids": list(partner_ids)},
        )
        return [row["partner_id"] async for row in added]

    async def to_send(self, keys: Sequence[EventKey]) -> Mapping[EventKey, Event]:
        found = await self.connection.execute(
            """SELECT partner_id, event_id, event_type, payload, request_id, traceparent, e.created_at
               FROM unnest(%s::uuid[], %s::text[]) AS wanted (partner_id, event_id)
               JOIN events e USING (partner_id, event_id) JOIN partners p USING (partner_id)
               WHERE payload IS NOT NULL AND p.deleted_at IS NULL""",
            ([partner_id for partner_id, _ in keys], [event_id for _, event_id in keys]),
        )
        return {(row["partner_id"], row["event_id"]): Event(**row) for row in await found.fetchall()}

    async def clear(self, before: datetime, limit: int) -> int:
        cleared = await self.connection.execute(
            """UPDATE events SET payload = NULL WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM events
                 WHERE payload IS NOT NULL AND created_at < %s ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED))""",
            (before, limit),
        )
        return cleared.rowcount

    async def get(self, partner_id: UUID, event_id: str) -> Event | None:
        found = await self.connection.execute(
            """SELECT partner_id, event_id, event_type, payload, request_id, traceparent, created_at FROM events
               WHERE partner_id = %s AND event_id = %s""",
            (partner_id, event_id),
        )
        row = await found.fetchone()
        return Event(**row) if row else None


@dataclass(frozen=True, slots=True)
class PostgresEventTypes:
    connection: Connection

    async def get(self, name: str) -> EventType | None:
        found = await self.connection.execute(
            """SELECT name, description, schema, example, deprecated, created_at, updated_at
               FROM event_types WHERE name = %s""",
            (name,),
        )
        row = await found.fetchone()
        return from_row(row) if row else None

    async def named(self, names: Sequence[str]) -> Mapping[str, EventType]:
        found = await self.connection.execute(
            """SELECT name, description, schema, example, deprecated, created_at, updated_at
               FROM event_types WHERE name = ANY (%s)""",
            (list(names),),
        )
        return {row["name"]: from_row(row) for row in await found.fetchall()}

    async def put(self, event_type: EventType) -> None:
        await self.connection.execute(
            """INSERT INTO event_types (name, description, schema, example, deprecated, created_at, updated_at)
               VALUES (%(name)s, %(description)s, %(schema)s, %(example)s, %(deprecated)s, %(created_at)s,
                       %(updated_at)s)
               ON CONFLICT (name) DO UPDATE SET description = excluded.description, schema = excluded.schema,
                 example = excluded.example, deprecated = excluded.deprecated, updated_at = excluded.updated_at""",
            asdict(event_type)
            | {
                "schema": None if event_type.schema is None else jsonb(event_type.schema),
                "example": None if event_type.example is None else jsonb(event_type.example),
            },
        )

    async def list(self) -> Sequence[EventType]:
        found = await self.connection.execute(
            """SELECT name, description, schema, example, deprecated, created_at, updated_at
               FROM event_types ORDER BY name"""
        )
        return [from_row(row) async for row in found]


def from_row(row: Mapping[str, Any]) -> EventType:
    return EventType(**row)
