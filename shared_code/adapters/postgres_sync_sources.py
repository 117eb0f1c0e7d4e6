"""Sync sources in PostgreSQL: how each resource of a partner is read, and how far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, jsonb
from shared_code.model import CursorKind, CursorRule, Paging, PagingStyle, Reading, Source

COLUMNS = """partner_id, resource, configuration, schedule_seconds, next_run_at, cursor, validators, last_full_at,
  streak, failing_since, disabled_at, created_at, updated_at"""


@dataclass(frozen=True, slots=True)
class PostgresSyncSources:
    connection: Connection

    async def get(self, partner_id: UUID, resource: str, *, lock: bool = False) -> Source | None:
        locking = "FOR NO KEY UPDATE" if lock else ""
        found = await self.connection.execute(
            f"SELECT {COLUMNS} FROM sync_sources WHERE partner_id = %s AND resource = %s {locking}",  # noqa: S608 - literals only
            (partner_id, resource),
        )
        row = await found.fetchone()
        return from_row(row) if row else None

    async def put(self, source: Source) -> None:
        await self.connection.execute(
            f"""INSERT INTO sync_sources ({COLUMNS})
                VALUES (%(partner_id)s, %(resource)s, %(configuration)s, %(schedule_seconds)s, %(next_run_at)s,
                        %(cursor)s, %(validators)s, %(last_full_at)s, %(streak)s, %(failing_since)s, %(disabled_at)s,
                        %(created_at)s, %(updated_at)s)
                ON CONFLICT (partner_id, resource) DO UPDATE SET
                  configuration = EXCLUDED.configuration, schedule_seconds = EXCLUDED.schedule_seconds,
                  next_run_at = EXCLUDED.next_run_at, cursor = EXCLUDED.cursor, validators = EXCLUDED.validators,
                  last_full_at = EXCLUDED.last_full_at, streak = EXCLUDED.streak,
                  failing_since = EXCLUDED.failing_since, disabled_at = EXCLUDED.disabled_at,
                  updated_at = EXCLUDED.updated_at""",  # noqa: S608 - literals only
            {
                **{
                    name: getattr(source, name) for name in COLUMNS.replace(",", " ").split() if name != "configuration"
                },
                "configuration": jsonb(source.reading),
                "validators": jsonb(source.validators),
            },
        )

    async def remove(self, partner_id: UUID, resource: str) -> bool:
        removed = await self.connection.execute(
            "DELETE FROM sync_sources WHERE partner_id = %s AND resource = %s", (partner_id, resource)
        )
        return removed.rowcount == 1

    async def list(self, partner_id: UUID) -> Sequence[Source]:
        found = await self.connection.execute(
            f"SELECT {COLUMNS} FROM sync_sources WHERE partner_id = %s ORDER BY resource",  # noqa: S608 - literals only
            (partner_id,),
        )
        return [from_row(row) async for row in found]

    async def due(self, now: datetime, limit: int) -> Sequence[Source]:
        found = await self.connection.execute(
            f"""SELECT {COLUMNS} FROM sync_sources
                WHERE next_run_at <= %s AND disabled_at IS NULL
                ORDER BY next_run_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED""",  # noqa: S608 - literals only
            (now, limit),
        )
        return [from_row(row) async for row in found]


def from_row(row: Mapping[str, Any]) -> Source:
    values = {name: value for name, value in row.items() if name != "configuration"}
    return Source(**values, reading=reading(row["configuration"]))


def reading(stored: dict[str, Any]) -> Reading:
    paging, cursor = stored["paging"], stored["cursor"]
    return Reading(
        **stored
        | {
            "paging": Paging(**paging | {"style": PagingStyle(paging["style"])}),
            "cursor": CursorRule(**cursor | {"kind": CursorKind(cursor["kind"])}) if cursor else None,
        }
    )
