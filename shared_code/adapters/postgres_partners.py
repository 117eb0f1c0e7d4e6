"""Partners in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, Where, jsonb, listing
from shared_code.model import AuthMethod, Listing, Page, Partner, PartnerStatus, PartnerType

COLUMNS = """partner_id, name, type, status, auth_method, api_endpoint, credentials_encrypted,
  rate_limit_per_minute, metadata, created_at, updated_at, last_sync_at, deleted_at, created_by"""


@dataclass(frozen=True, slots=True)
class PostgresPartners:
    connection: Connection

    async def add(self, partner: Partner) -> None:
        await self.connection.execute(
            """INSERT INTO partners
                 (partner_id, name, type, status, auth_method, api_endpoint, credentials_encrypted,
                  rate_limit_per_minute, metadata, created_at, updated_at, last_sync_at, deleted_at, created_by)
               VALUES (%(partner_id)s, %(name)s, %(type)s, %(status)s, %(auth_method)s, %(api_endpoint)s,
                       %(credentials_encrypted)s, %(rate_limit_per_minute)s, %(metadata)s,
                       %(created_at)s, %(updated_at)s, %(last_sync_at)s, %(deleted_at)s, %(created_by)s)""",
            to_row(partner),
        )

    async def get(self, partner_id: UUID, *, lock: bool = False) -> Partner | None:
        locking = "FOR NO KEY UPDATE" if lock else ""
        found = await self.connection.execute(
            f"SELECT {COLUMNS} FROM partners WHERE partner_id = %s {locking}",  # noqa: S608 - literals only
            (partner_id,),
        )
        row = await found.fetchone()
        return from_row(row) if row else None

    async def save(self, partner: Partner) -> None:
        await self.connection.execute(
            """UPDATE partners SET name = %(name)s, status = %(status)s, api_endpoint = %(api_endpoint)s,
                 credentials_encrypted = %(credentials_encrypted)s, metadata = %(metadata)s,
                 rate_limit_per_minute = %(rate_limit_per_minute)s, updated_at = %(updated_at)s,
                 last_sync_at = %(last_sync_at)s, deleted_at = %(deleted_at)s
               WHERE partner_id = %(partner_id)s""",
            to_row(partner),
        )

    async def list(
        self, page: Page, *, type: PartnerType | None = None, status: PartnerStatus | None = None
    ) -> Listing[Partner]:
        where = Where().when("type = %(type)s", type=type).when("status = %(status)s", status=status)
        return await listing(self.connection, COLUMNS, "partners", where, page, from_row)

    async def active(self) -> Sequence[UUID]:
        found = await self.connection.execute("SELECT partner_id FROM partners WHERE status = 'active' ORDER BY id")
        return [row["partner_id"] async for row in found]


def to_row(partner: Partner) -> dict[str, Any]:
    return asdict(partner) | {"metadata": jsonb(partner.metadata)}


def from_row(row: Mapping[str, Any]) -> Partner:
    created: datetime = row["created_at"]
    return Partner(
        partner_id=row["partner_id"],
        name=row["name"],
        type=PartnerType(row["type"]),
        status=PartnerStatus(row["status"]),
        auth_method=AuthMethod(row["auth_method"]),
        api_endpoint=row["api_endpoint"],
        credentials_encrypted=row["credentials_encrypted"],
        rate_limit_per_minute=row["rate_limit_per_minute"],
        metadata=row["metadata"],
        created_at=created,
        updated_at=row["updated_at"],
        last_sync_at=row["last_sync_at"],
        deleted_at=row["deleted_at"],
        created_by=row["created_by"],
    )
