"""What stands in PostgreSQL at one moment. A count that can grow without end stops at ten thousand rows."""

from dataclasses import dataclass

from shared_code.adapters.postgres_rows import Connection
from shared_code.model import MOST_COUNTED
from shared_code.ports import Figures

QUERY = """
SELECT
  (SELECT count(*) FROM partners WHERE status = 'active') AS active_partners,
  (SELECT count(*) FROM (SELECT 1 FROM outbox
     WHERE done_at IS NULL AND buried_at IS NULL LIMIT %(most)s) AS o) AS outbox_owed,
  (SELECT count(*) FROM (SELECT 1 FROM outbox
     WHERE done_at IS NULL AND buried_at IS NOT NULL LIMIT %(most)s) AS b) AS outbox_buried,
  (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float FROM (SELECT created_at FROM outbox
     WHERE done_at IS NULL AND buried_at IS NULL AND not_before <= now()
     ORDER BY not_before, id LIMIT %(most)s) AS a) AS outbox_age_seconds,
  (SELECT count(*) FROM (SELECT 1 FROM inbox
     WHERE done_at IS NULL AND buried_at IS NULL LIMIT %(most)s) AS i) AS inbox_owed,
  (SELECT count(*) FROM (SELECT 1 FROM reviews WHERE resolved_at IS NULL LIMIT %(most)s) AS r) AS reviews_open,
  (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries
     WHERE check_at IS NOT NULL LIMIT %(most)s) AS d) AS deliveries_unfinished
"""


@dataclass(frozen=True, slots=True)
class PostgresFigures:
    connection: Connection

    async def read(self) -> Figures:
        found = await self.connection.execute(QUERY, {"most": MOST_COUNTED})
        return Figures(**(await found.fetchone() or {}))
