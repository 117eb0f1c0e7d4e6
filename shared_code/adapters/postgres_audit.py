"""The audit trail in PostgreSQL: `integration_logs`; and the heads of its archive's chains: `audit_heads`."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from shared_code import errors
from shared_code.adapters.postgres_rows import Connection, Where, jsonb, listing
from shared_code.model import AuditEntry, AuditRow, ChainHead, Listing, Page, Severity
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

    async def oldest(self, before: datetime, limit: int) -> Sequence[AuditRow]:
        found = await self.connection.execute(
            f"""SELECT id, {COLUMNS} FROM integration_logs WHERE created_at < %s
                ORDER BY created_at, id LIMIT %s""",  # noqa: S608 - literals only
            (before, limit),
        )
        return [AuditRow(number=row["id"], entry=from_row(row)) async for row in found]

    async def remove(self, numbers: Sequence[int]) -> int:
        done = await self.connection.execute("DELETE FROM integration_logs WHERE id = ANY (%s)", (list(numbers),))
        return done.rowcount

    async def held(self, numbers: Sequence[int]) -> Set[int]:
        found = await self.connection.execute("SELECT id FROM integration_logs WHERE id = ANY (%s)", (list(numbers),))
        return {row["id"] async for row in found}


@dataclass(frozen=True, slots=True)
class PostgresChainHeads:
    connection: Connection

    async def of(self, partitions: Iterable[str]) -> Mapping[str, ChainHead]:
        found = await self.connection.execute(
            "SELECT * FROM audit_heads WHERE partition = ANY (%s)", (sorted(partitions),)
        )
        return {row["partition"]: ChainHead(**row) async for row in found}

    async def list(self, wanted: AuditFilter) -> Sequence[ChainHead]:
        where = (
            Where()
            .when("partner_id = %(partner_id)s", partner_id=wanted.partner_id)
            .when("newest >= %(since)s", since=wanted.since)
            .when("oldest < %(until)s", until=wanted.until)
        )
        statement = sql.SQL("SELECT * FROM audit_heads WHERE {} ORDER BY newest DESC").format(where.clause())
        return [ChainHead(**row) async for row in await self.connection.execute(statement, where.values)]

    async def advance(self, head: ChainHead, was: int) -> None:
        done = await self.connection.execute(
            """INSERT INTO audit_heads AS head (partition, partner_id, sequence, row, hash, oldest, newest)
               SELECT %(partition)s, %(partner_id)s::uuid, %(sequence)s, %(row)s, %(hash)s, %(oldest)s, %(newest)s
               WHERE %(was)s = 0 OR EXISTS (SELECT FROM audit_heads WHERE partition = %(partition)s)
               ON CONFLICT (partition) DO UPDATE SET sequence = excluded.sequence, row = excluded.row,
                 hash = excluded.hash, oldest = excluded.oldest, newest = excluded.newest
               WHERE head.sequence = %(was)s""",
            asdict(head) | {"was": was},
        )
        if done.rowcount != 1:
            raise errors.Conflict("Another archiver was at this chain.")


def from_row(row: Mapping[str, Any]) -> AuditEntry:
    values = {name: value for name, value in row.items() if name not in ("id", "severity")}
    return AuditEntry(severity=Severity(row["severity"]), **values)
