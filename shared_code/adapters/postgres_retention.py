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


@dataclass(frozen=True, slots=True)
class Over:
    """Since when a row is over, what else must hold, and whose row says so if not its own."""

    since: LiteralString
    condition: LiteralString = "true"
    joined: LiteralString = ""


REMOVED: LiteralString = "JOIN partners AS removed USING (partner_id)"
OVER: Mapping[Perishable, Over] = {
    Perishable.SESSIONS: Over("expire"),
    Perishable.REPLIES: Over("expires_at"),
    Perishable.RATE_LIMITS: Over("window_end"),
    Perishable.OAUTH_LINKS: Over("expires_at"),
    Perishable.OAUTH_STATES: Over("expires_at"),
    Perishable.OAUTH_PROVIDERS: Over(
        "removed.deleted_at",
        """removed.deleted_at IS NOT NULL AND NOT EXISTS (SELECT FROM oauth_connections AS connection
             WHERE connection.partner_id = item.partner_id
               AND (access_token_encrypted IS NOT NULL OR refresh_token_encrypted IS NOT NULL))""",
        REMOVED,
    ),
    Perishable.INBOUND_SECRETS: Over("expires_at", "expires_at IS NOT NULL"),
    Perishable.OUTBOX: Over("done_at", "done_at IS NOT NULL"),
    Perishable.INBOX: Over("done_at", "done_at IS NOT NULL"),
    Perishable.INBOUND_RECORDS: Over("held_until"),
    Perishable.SYNC_RECORDS: Over("removed.deleted_at", "removed.deleted_at IS NOT NULL", REMOVED),
    Perishable.EVENTS: Over(
        "created_at",
        """payload IS NULL AND NOT EXISTS (SELECT FROM webhook_deliveries AS delivery
             WHERE delivery.partner_id = item.partner_id AND delivery.event_id = item.event_id
               AND delivery.status IN ('pending', 'retrying'))""",
    ),
    Perishable.REVIEWS: Over("resolved_at", "resolved_at IS NOT NULL"),
    Perishable.SYNC_JOBS: Over("completed_at", "completed_at IS NOT NULL"),
    Perishable.TIMER_RUNS: Over("started_at"),
}
"""By table, which is called as the kind is."""

CLEAR: LiteralString = """DELETE FROM {table} WHERE ctid = ANY (ARRAY(
  SELECT item.ctid FROM {table} AS item {joined} WHERE {since} < %s AND {condition}
  ORDER BY {since} LIMIT %s FOR UPDATE OF item SKIP LOCKED))"""


@dataclass(frozen=True, slots=True)
class PostgresRetention:
    connection: Connection

    async def clear(self, what: Perishable, before: datetime, limit: int) -> int:
        return (await self.connection.execute(statement(what), (before, limit))).rowcount


def statement(what: Perishable) -> sql.Composed:
    over = OVER[what]
    return sql.SQL(CLEAR).format(
        table=sql.Identifier(what.value),
        since=sql.SQL(over.since),
        condition=sql.SQL(over.condition),
        joined=sql.SQL(over.joined),
    )
