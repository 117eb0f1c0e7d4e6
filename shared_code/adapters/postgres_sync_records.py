"""What each source has, and what could not land, in PostgreSQL: one statement per page of records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, Where, json_text, listing
from shared_code.model import Listing, Page, Quarantined, Seen

QUARANTINE = "quarantine_id, job_id, key, reason, record, created_at"


@dataclass(frozen=True, slots=True)
class PostgresSyncRecords:
    connection: Connection

    async def known(self, partner_id: UUID, resource: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        found = await self.connection.execute(
            "SELECT key, hash FROM sync_records WHERE partner_id = %s AND resource = %s AND key = ANY (%s)",
            (partner_id, resource, list(keys)),
        )
        return {row["key"]: row["hash"] for row in await found.fetchall()}

    async def keep(self, partner_id: UUID, resource: str, job_id: UUID, seen: Sequence[Seen]) -> None:
        await self.connection.execute(
            """INSERT INTO sync_records (partner_id, resource, key, hash, seen_in)
               SELECT %s, %s, key, hash, %s FROM unnest(%s::text[], %s::bytea[]) AS page (key, hash)
               ON CONFLICT (partner_id, resource, key)
               DO UPDATE SET hash = EXCLUDED.hash, seen_in = EXCLUDED.seen_in""",
            (partner_id, resource, job_id, [each.key for each in seen], [each.hash for each in seen]),
        )

    async def touch(self, partner_id: UUID, resource: str, job_id: UUID, keys: Sequence[str]) -> None:
        await self.connection.execute(
            """UPDATE sync_records SET seen_in = %s
               WHERE partner_id = %s AND resource = %s AND key = ANY (%s)""",
            (job_id, partner_id, resource, list(keys)),
        )

    async def unseen(
        self, partner_id: UUID, resource: str, job_id: UUID, after: str, limit: int
    ) -> tuple[Sequence[str], str | None]:
        found = await self.connection.execute(
            """SELECT key, seen_in <> %s AS unseen FROM sync_records
               WHERE partner_id = %s AND resource = %s AND key > %s ORDER BY key LIMIT %s""",
            (job_id, partner_id, resource, after, limit),
        )
        rows = await found.fetchall()
        return [row["key"] for row in rows if row["unseen"]], rows[-1]["key"] if rows else None

    async def forget(self, partner_id: UUID, resource: str, keys: Sequence[str]) -> None:
        await self.connection.execute(
            "DELETE FROM sync_records WHERE partner_id = %s AND resource = %s AND key = ANY (%s)",
            (partner_id, resource, list(keys)),
        )

    async def quarantine(self, rows: Sequence[Quarantined]) -> None:
        async with self.connection.cursor() as cursor:
            await cursor.executemany(
                """INSERT INTO sync_quarantine (quarantine_id, job_id, key, reason, record, created_at)
                   VALUES (%s, %s, %s, %s, %s, %s)""",
                [
                    (row.quarantine_id, row.job_id, row.key, row.reason, json_text(row.record), row.created_at)
                    for row in rows
                ],
            )

    async def quarantined(self, job_id: UUID, page: Page) -> Listing[Quarantined]:
        where = Where().when("job_id = %(job_id)s", job_id=job_id)
        return await listing(
            self.connection,
            QUARANTINE,
            "sync_quarantine",
            where,
            page,
            lambda row: Quarantined(**{name: value for name, value in row.items() if name != "id"}),
        )
