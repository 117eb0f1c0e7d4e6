"""The audit trail in PostgreSQL: `integration_logs`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shared_code.adapters.postgres_rows import Connection, Where, jsonb, listing
from shared_code.model import AuditEntry, Listing, Page, Severity
from shared_code.ports import AuditFilter

COLUMNS = """log_id, event_type, severity, message, actor, target, partner_id, metadata, request_id,
  host(ip_address) AS ip_address, user_agent, created_at"""


@dataclass(frozen=True, slots=True)
class PostgresAuditTrail:
    connection: Connection

    async def add(self, entry: AuditEntry) -> None:
        await self.connection.execute(
            """INSERT INTO integration_logs (log_id, event_type, severity, message, actor, target, partner_id,
                 metadata, request_id, ip_address, user_agent, created_at)
               VALUES (%(log_id)s, %(event_type)s, %(severity)s, %(message)s, %(actor)s, %(target)s, %(partner_id)s,
                 %(metadata)s, %(request_id)s, %(ip_address)s, %(user_agent)s, %(created_at)s)""",
            asdict(entry) | {"metadata": jsonb(entry.metadata)},
        )

    async def list(self, wanted: AuditFilter, page: Page) -> Listing[AuditEntry]:
        where = (
            Where()
            .when("partner_id = %(partner_id)s", partner_id=wanted.partner_id)
            .when("severity = %(severity)s", severity=wanted.severity)
            .when("event_type = %(event_type)s", event_type=wanted.event_type)
            .when("request_id = %(request_id)s", request_id=wanted.request_id)
            .when("created_at >= %(since)s", since=wanted.since)
            .when("created_at < %(until)s", until=wanted.until)
        )
        return await listing(self.connection, COLUMNS, "integration_logs", where, page, from_row)


def from_row(row: Mapping[str, Any]) -> AuditEntry:
    values = {name: value for name, value in row.items() if name not in ("id", "severity")}
    return AuditEntry(severity=Severity(row["severity"]), **values)
