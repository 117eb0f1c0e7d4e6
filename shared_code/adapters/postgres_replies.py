"""Answers kept for Idempotency-Keys in PostgreSQL.

The claim is a transaction-level advisory lock: a crash frees it and undoes the work in the same moment,
so there is no half-done key to clean up.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from shared_code import errors
from shared_code.adapters.postgres_rows import Connection, jsonb
from shared_code.model import StoredReply


@dataclass(frozen=True, slots=True)
class PostgresReplies:
    connection: Connection

    async def claim(self, tenant: str, route: str, key: str) -> StoredReply | None:
        locked = await self.connection.execute(
            "SELECT pg_try_advisory_xact_lock(%s) AS free", (lock_number(tenant, route, key),)
        )
        if not (await locked.fetchone() or {}).get("free"):
            raise errors.IdempotencyInFlight(headers={"Retry-After": "1"})
        found = await self.connection.execute(
            """SELECT fingerprint, status, headers, body_encrypted FROM idempotency_replies
               WHERE tenant = %s AND route = %s AND key = %s AND expires_at > now()""",
            (tenant, route, key),
        )
        row = await found.fetchone()
        return StoredReply(**row) if row else None

    async def keep(self, tenant: str, route: str, key: str, reply: StoredReply, until: datetime) -> None:
        await self.connection.execute(
            """INSERT INTO idempotency_replies
                 (tenant, route, key, fingerprint, status, headers, body_encrypted, expires_at)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT (tenant, route, key) DO UPDATE SET fingerprint = excluded.fingerprint,
                 status = excluded.status, headers = excluded.headers,
                 body_encrypted = excluded.body_encrypted, expires_at = excluded.expires_at""",
            (
                tenant,
                route,
                key,
                reply.fingerprint,
                reply.status,
                jsonb(dict(reply.headers)),
                reply.body_encrypted,
                until,
            ),
        )


def lock_number(tenant: str, route: str, key: str) -> int:
    """A signed 64-bit number for the three together, as PostgreSQL's advisory locks want it."""
    name = "\x1f".join((tenant, route, key)).encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), signed=True)
