"""Webhook endpoints in PostgreSQL."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, Where, listing
from shared_code.model import Endpoint, EndpointState, Listing, Page

COLUMNS = """endpoint_id, svix_endpoint_id, partner_id, url, description, enabled, events, state,
  secret_encrypted, created_at, updated_at, deleted_at"""


@dataclass(frozen=True, slots=True)
class PostgresEndpoints:
    connection: Connection

    async def add(self, endpoint: Endpoint) -> None:
        await self.connection.execute(
            """INSERT INTO webhook_endpoints
                 (endpoint_id, svix_endpoint_id, partner_id, url, description, enabled, events, state,
                  secret_encrypted, created_at, updated_at, deleted_at)
               VALUES (%(endpoint_id)s, %(svix_endpoint_id)s, %(partner_id)s, %(url)s, %(description)s, %(enabled)s,
                       %(events)s, %(state)s, %(secret_encrypted)s, %(created_at)s, %(updated_at)s, %(deleted_at)s)""",
            to_row(endpoint),
        )

    async def get(self, endpoint_id: str, *, lock: bool = False) -> Endpoint | None:
        locking = "FOR NO KEY UPDATE" if lock else ""
        found = await self.connection.execute(
            f"SELECT {COLUMNS} FROM webhook_endpoints WHERE endpoint_id = %s {locking}",  # noqa: S608 - literals only
            (endpoint_id,),
        )
        row = await found.fetchone()
        return from_row(row) if row else None

    async def save(self, endpoint: Endpoint) -> None:
        await self.connection.execute(
            """UPDATE webhook_endpoints SET url = %(url)s, description = %(description)s, enabled = %(enabled)s,
                 events = %(events)s, state = %(state)s, svix_endpoint_id = %(svix_endpoint_id)s,
                 secret_encrypted = %(secret_encrypted)s, updated_at = %(updated_at)s, deleted_at = %(deleted_at)s
               WHERE endpoint_id = %(endpoint_id)s""",
            to_row(endpoint),
        )

    async def list(self, page: Page, *, partner_id: UUID) -> Listing[Endpoint]:
        where = Where().when("partner_id = %(partner_id)s", partner_id=partner_id).when("deleted_at IS NULL")
        return await listing(self.connection, COLUMNS, "webhook_endpoints", where, page, from_row)

    async def find(self, partner_id: UUID, endpoint_id: str, svix_endpoint_id: str) -> str | None:
        found = await self.connection.execute(
            """SELECT endpoint_id FROM webhook_endpoints
               WHERE partner_id = %s AND (endpoint_id = %s OR svix_endpoint_id = %s)""",
            (partner_id, endpoint_id, svix_endpoint_id),
        )
        row = await found.fetchone()
        return row["endpoint_id"] if row else None

    async def close_all(self, partner_id: UUID, now: datetime) -> int:
        closed = await self.connection.execute(
            """UPDATE webhook_endpoints SET enabled = false, secret_encrypted = NULL, deleted_at = %s, updated_at = %s
               WHERE partner_id = %s AND deleted_at IS NULL""",
            (now, now, partner_id),
        )
        return closed.rowcount


def to_row(endpoint: Endpoint) -> dict[str, Any]:
    return asdict(endpoint) | {"events": list(endpoint.events)}


def from_row(row: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        endpoint_id=row["endpoint_id"],
        partner_id=row["partner_id"],
        url=row["url"],
        events=tuple(row["events"]),
        description=row["description"],
        enabled=row["enabled"],
        state=EndpointState(row["state"]),
        svix_endpoint_id=row["svix_endpoint_id"],
        secret_encrypted=row["secret_encrypted"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
    )
