"""What leaves PostgreSQL after its time: one statement for each kind, each on an index that begins at the oldest.

A row that another transaction holds is passed over: it is for the next batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg import sql

from shared_code.adapters.postgres_rows import Connection
from shared_code.ports import Perishable

OVER: Mapping[Perishable, tuple[LiteralString, LiteralString]] = {
    Perishable.SESSIONS: ("expire", "true"),
    Perishable.REPLIES: ("expires_at", "true"),
    Perishable.RATE_LIMITS: ("window_end", "true"),
    Perishable.OUTBOX: ("done_at", "done_at IS NOT NULL"),
    Perishable.INBOX: ("done_at", "done_at IS NOT NULL"),
    Perishable.EVENTS: (
        "created_at",
        """payload IS NULL AND NOT EXISTS (SELECT FROM webhook_deliveries AS delivery
             WHERE delivery.partner_id = item.partner_id AND delivery.event_id = item.event_id
               AND delivery.status IN ('pending', 'retrying'))""",
    ),
    Perishable.REVIEWS: ("resolved_at", "resolved_at IS NOT NULL"),
    Perishable.SYNC_JOBS: ("completed_at", "completed_at IS NOT NULL"),
    Perishable.TIMER_RUNS: ("started_at", "true"),
}
"""Table (as the kind is called) → the column that says since when it is over, and what else must hold."""

CLEAR: LiteralString = """DELETE FROM {table} WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM {table} AS item WHERE {column} < %s AND {condition}
  ORDER BY {column} LIMIT %s FOR UPDATE SKIP LOCKED))"""


@dataclass(frozen=True, slots=True)
class PostgresRetention:
    connection: Connection

    async def clear(self, what: Perishable, before: datetime, limit: int) -> int:
        return (await self.connection.execute(statement(what), (before, limit))).rowcount


def statement(what: Perishable) -> sql.Composed:
    column, condition = OVER[what]
    table = sql.Identifier(what.value)
    return sql.SQL(CLEAR).format(table=table, column=sql.Identifier(column), condition=sql.SQL(condition))
