"""Publications in PostgreSQL: one statement, however many events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, to_json
from shared_code.model import Event, OutboxKind, PartnerStatus

PUBLISH = """
WITH wanted AS (
  SELECT *, p.status IN ('active', 'pending') AS served
  FROM unnest(%(partner_ids)s::uuid[], %(event_ids)s::text[], %(event_types)s::text[],
              %(payloads)s::text[], %(request_ids)s::text[], %(traces)s::text[],
              %(times)s::timestamptz[])
         AS told (partner_id, event_id, event_type, payload, request_id, traceparent, at)
  LEFT JOIN (SELECT partner_id, status FROM partners WHERE deleted_at IS NULL) p USING (partner_id)
), new AS (
  INSERT INTO events (partner_id, event_id, event_type, payload, request_id, traceparent, created_at)
  SELECT partner_id, event_id, event_type, payload::json, request_id, traceparent, at FROM wanted WHERE served
  ON CONFLICT DO NOTHING RETURNING partner_id, event_id, event_type, created_at
), opened AS (
  INSERT INTO webhook_deliveries
    (partner_id, endpoint_id, event_id, event_type, max_attempts, status, created_at)
  SELECT new.partner_id, endpoint_id, event_id, event_type, %(max_attempts)s,
         CASE WHEN enabled THEN 'pending' ELSE 'skipped' END, new.created_at
  FROM new JOIN webhook_endpoints known
    ON known.partner_id = new.partner_id AND deleted_at IS NULL AND state <> 'refused'
       AND event_type = ANY (events)
), owed AS (
  INSERT INTO outbox (kind, partner_id, subject, not_before, created_at)
  SELECT %(kind)s, partner_id, event_id, created_at, created_at FROM new
)
SELECT DISTINCT partner_id, status FROM wanted WHERE served IS NOT TRUE
"""


@dataclass(frozen=True, slots=True)
class PostgresPublications:
    connection: Connection

    async def add(self, events: Sequence[Event], max_attempts: int) -> Mapping[UUID, PartnerStatus | None]:
        """In the order of their names: two processes with the same events then never wait for each other."""
        if not events:
            return {}
        ordered = sorted(events, key=lambda event: (event.partner_id, event.event_id))
        refused = await self.connection.execute(
            PUBLISH,
            {
                "partner_ids": [event.partner_id for event in ordered],
                "event_ids": [event.event_id for event in ordered],
                "event_types": [event.event_type for event in ordered],
                "payloads": [to_json(event.payload).decode() for event in ordered],
                "request_ids": [event.request_id for event in ordered],
                "traces": [event.traceparent for event in ordered],
                "times": [event.created_at for event in ordered],
                "max_attempts": max_attempts,
                "kind": OutboxKind.SEND_EVENT.value,
            },
        )
        return {
            row["partner_id"]: PartnerStatus(row["status"]) if row["status"] else None
            for row in await refused.fetchall()
        }
