"""API keys in PostgreSQL."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, Where, listing
from shared_code.model import ApiKey, Listing, Page

COLUMNS = """key_id, key_hash, partner_id, name, scopes, rate_limit_per_minute, expires_at, last_used_at,
  revoked_at, created_at, created_by"""


@dataclass(frozen=True, slots=True)
class PostgresApiKeys:
    connection: Connection

    async def add(self, key: ApiKey) -> None:
        await self.connection.execute(
            """INSERT INTO api_keys
                 (key_id, key_hash, partner_id, name, scopes, rate_limit_per_minute, expires_at, last_used_at,
                  revoked_at, created_at, created_by)
               VALUES (%(key_id)s, %(key_hash)s, %(partner_id)s, %(name)s, %(scopes)s, %(rate_limit_per_minute)s,
                       %(expires_at)s, %(last_used_at)s, %(revoked_at)s, %(created_at)s, %(created_by)s)""",
            to_row(key),
        )

    async def get(self, key_id: str, *, lock: bool = False) -> ApiKey | None:
        locking = "FOR NO KEY UPDATE" if lock else ""
        found = await self.connection.execute(
            f"SELECT {COLUMNS} FROM api_keys WHERE key_id = %s {locking}",  # noqa: S608 - literals only
            (key_id,),
        )
        row = await found.fetchone()
        return from_row(row) if row else None

    async def save(self, key: ApiKey) -> None:
        await self.connection.execute(
            """UPDATE api_keys SET name = %(name)s, scopes = %(scopes)s, expires_at = %(expires_at)s,
                 rate_limit_per_minute = %(rate_limit_per_minute)s, revoked_at = %(revoked_at)s
               WHERE key_id = %(key_id)s""",
            to_row(key),
        )

    async def list(self, page: Page, *, partner_id: UUID | None, house: bool = False) -> Listing[ApiKey]:
        where = Where().when("partner_id = %(partner_id)s", partner_id=partner_id)
        if house:
            where.when("partner_id IS NULL")
        return await listing(self.connection, COLUMNS, "api_keys", where, page, from_row)

    async def revoke_all(self, partner_id: UUID, now: datetime) -> int:
        revoked = await self.connection.execute(
            "UPDATE api_keys SET revoked_at = %s WHERE partner_id = %s AND revoked_at IS NULL",
            (now, partner_id),
        )
        return revoked.rowcount

    async def used(self, times: Mapping[str, datetime]) -> None:
        await self.connection.execute(
            """UPDATE api_keys SET last_used_at = used.at
               FROM unnest(%s::text[], %s::timestamptz[]) AS used (key_id, at)
               WHERE api_keys.key_id = used.key_id
                 AND (api_keys.last_used_at IS NULL OR used.at >= api_keys.last_used_at + interval '1 minute')""",
            (list(times), list(times.values())),
        )


def to_row(key: ApiKey) -> dict[str, Any]:
    return asdict(key) | {"scopes": list(key.scopes)}


def from_row(row: Mapping[str, Any]) -> ApiKey:
    return ApiKey(
        key_id=row["key_id"],
        key_hash=row["key_hash"],
        partner_id=row["partner_id"],
        name=row["name"],
        scopes=tuple(row["scopes"]),
        rate_limit_per_minute=row["rate_limit_per_minute"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
        created_at=row["created_at"],
        created_by=row["created_by"],
    )
