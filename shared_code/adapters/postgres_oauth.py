"""Connections by OAuth in PostgreSQL: settings, links, states, tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection
from shared_code.model import (
    ClientAuth,
    ConnectionStatus,
    OAuthConnection,
    OAuthGrant,
    OAuthLink,
    OAuthProvider,
    OAuthState,
)

LINK = "link_hash, partner_id, created_by, created_at, expires_at, used_at"
STATE = "state_hash, browser_hash, partner_id, verifier_encrypted, created_at, expires_at, used_at"
CONNECTION = """partner_id, status, access_token_encrypted, refresh_token_encrypted, scopes, expires_at, refreshed_at,
  rejected_at, failures, not_before, lease_until, ended_at, version"""


@dataclass(frozen=True, slots=True)
class PostgresOAuthProviders:
    connection: Connection

    async def put(self, provider: OAuthProvider) -> None:
        await self.connection.execute(
            """INSERT INTO oauth_providers
                 (partner_id, grant_type, authorize_url, token_url, revoke_url, issuer, client_id,
                  client_secret_encrypted, client_auth, scopes, created_at, updated_at)
               VALUES (%(partner_id)s, %(grant)s, %(authorize_url)s, %(token_url)s, %(revoke_url)s, %(issuer)s,
                       %(client_id)s, %(client_secret_encrypted)s, %(client_auth)s, %(scopes)s, %(created_at)s,
                       %(updated_at)s)
               ON CONFLICT (partner_id) DO UPDATE SET grant_type = excluded.grant_type,
                 authorize_url = excluded.authorize_url, token_url = excluded.token_url,
                 revoke_url = excluded.revoke_url, issuer = excluded.issuer, client_id = excluded.client_id,
                 client_secret_encrypted = excluded.client_secret_encrypted, client_auth = excluded.client_auth,
                 scopes = excluded.scopes, updated_at = excluded.updated_at""",
            with_lists(asdict(provider)),
        )

    async def get(self, partner_id: UUID) -> OAuthProvider | None:
        found = await self.connection.execute(
            """SELECT partner_id, grant_type AS "grant", authorize_url, token_url, revoke_url, issuer, client_id,
                 client_secret_encrypted, client_auth, scopes, created_at, updated_at
               FROM oauth_providers WHERE partner_id = %s""",
            (partner_id,),
        )
        row = await found.fetchone()
        return provider_of(row) if row else None


@dataclass(frozen=True, slots=True)
class PostgresOAuthLinks:
    connection: Connection

    async def add(self, link: OAuthLink) -> None:
        await self.connection.execute(
            """INSERT INTO oauth_links (link_hash, partner_id, created_by, created_at, expires_at, used_at)
               VALUES (%(link_hash)s, %(partner_id)s, %(created_by)s, %(created_at)s, %(expires_at)s, %(used_at)s)""",
            asdict(link),
        )

    async def use(self, link_hash: bytes, partner_id: UUID, now: datetime) -> OAuthLink | None:
        used = await self.connection.execute(
            f"""UPDATE oauth_links SET used_at = %(now)s
                WHERE link_hash = %(hash)s AND partner_id = %(partner)s AND used_at IS NULL AND expires_at > %(now)s
                RETURNING {LINK}""",  # noqa: S608 - literals only
            {"hash": link_hash, "partner": partner_id, "now": now},
        )
        row = await used.fetchone()
        return OAuthLink(**row) if row else None

    async def get(self, link_hash: bytes) -> OAuthLink | None:
        found = await self.connection.execute(
            f"SELECT {LINK} FROM oauth_links WHERE link_hash = %s",  # noqa: S608 - literals only
            (link_hash,),
        )
        row = await found.fetchone()
        return OAuthLink(**row) if row else None

    async def void(self, partner_id: UUID) -> None:
        await self.connection.execute("DELETE FROM oauth_links WHERE partner_id = %s", (partner_id,))


@dataclass(frozen=True, slots=True)
class PostgresOAuthStates:
    connection: Connection

    async def add(self, state: OAuthState) -> None:
        await self.connection.execute(
            """INSERT INTO oauth_states
                 (state_hash, browser_hash, partner_id, verifier_encrypted, created_at, expires_at, used_at)
               VALUES (%(state_hash)s, %(browser_hash)s, %(partner_id)s, %(verifier_encrypted)s, %(created_at)s,
                       %(expires_at)s, %(used_at)s)""",
            asdict(state),
        )

    async def use(self, state_hash: bytes, browser_hash: bytes, now: datetime) -> OAuthState | None:
        used = await self.connection.execute(
            f"""UPDATE oauth_states SET used_at = %(now)s
                WHERE state_hash = %(hash)s AND browser_hash = %(browser)s AND used_at IS NULL AND expires_at > %(now)s
                RETURNING {STATE}""",  # noqa: S608 - literals only
            {"hash": state_hash, "browser": browser_hash, "now": now},
        )
        row = await used.fetchone()
        return OAuthState(**row) if row else None

    async def get(self, state_hash: bytes) -> OAuthState | None:
        found = await self.connection.execute(
            f"SELECT {STATE} FROM oauth_states WHERE state_hash = %s",  # noqa: S608 - literals only
            (state_hash,),
        )
        row = await found.fetchone()
        return OAuthState(**row) if row else None

    async def void(self, partner_id: UUID) -> None:
        await self.connection.execute("DELETE FROM oauth_states WHERE partner_id = %s", (partner_id,))


@dataclass(frozen=True, slots=True)
class PostgresOAuthConnections:
    connection: Connection

    async def get(self, partner_id: UUID, *, lock: bool = False) -> OAuthConnection | None:
        locking = "FOR NO KEY UPDATE" if lock else ""
        found = await self.connection.execute(
            f"SELECT {CONNECTION} FROM oauth_connections WHERE partner_id = %s {locking}",  # noqa: S608 - literals only
            (partner_id,),
        )
        row = await found.fetchone()
        return connection_of(row) if row else None

    async def save(self, connection: OAuthConnection) -> bool:
        saved = await self.connection.execute(
            """INSERT INTO oauth_connections AS kept
                 (partner_id, status, access_token_encrypted, refresh_token_encrypted, scopes, expires_at,
                  refreshed_at, rejected_at, failures, not_before, lease_until, ended_at, version)
               VALUES (%(partner_id)s, %(status)s, %(access_token_encrypted)s, %(refresh_token_encrypted)s, %(scopes)s,
                       %(expires_at)s, %(refreshed_at)s, %(rejected_at)s, %(failures)s, %(not_before)s,
                       %(lease_until)s, %(ended_at)s, %(version)s + 1)
               ON CONFLICT (partner_id) DO UPDATE SET status = excluded.status,
                 access_token_encrypted = excluded.access_token_encrypted,
                 refresh_token_encrypted = excluded.refresh_token_encrypted, scopes = excluded.scopes,
                 expires_at = excluded.expires_at, refreshed_at = excluded.refreshed_at,
                 rejected_at = excluded.rejected_at, failures = excluded.failures, not_before = excluded.not_before,
                 lease_until = excluded.lease_until, ended_at = excluded.ended_at, version = excluded.version
               WHERE kept.version = %(version)s""",
            with_lists(asdict(connection)),
        )
        return saved.rowcount == 1

    async def calm(self, partner_id: UUID) -> None:
        await self.connection.execute(
            "UPDATE oauth_connections SET failures = 0, not_before = NULL WHERE partner_id = %s", (partner_id,)
        )

    async def claim(self, partner_id: UUID, version: int, now: datetime, until: datetime) -> OAuthConnection | None:
        claimed = await self.connection.execute(
            f"""UPDATE oauth_connections SET lease_until = %(until)s
                WHERE partner_id = %(partner)s AND version = %(version)s
                  AND (lease_until IS NULL OR lease_until <= %(now)s)
                RETURNING {CONNECTION}""",  # noqa: S608 - literals only
            {"partner": partner_id, "version": version, "now": now, "until": until},
        )
        row = await claimed.fetchone()
        return connection_of(row) if row else None

    async def due(self, now: datetime, idle_since: datetime, limit: int) -> Sequence[UUID]:
        found = await self.connection.execute(
            """SELECT partner_id FROM oauth_connections
               WHERE (lease_until IS NULL OR lease_until <= %(now)s) AND (not_before IS NULL OR not_before <= %(now)s)
                 AND ((status = 'connected' AND refresh_token_encrypted IS NOT NULL AND refreshed_at < %(idle)s)
                   OR (status = 'disconnected'
                     AND (access_token_encrypted IS NOT NULL OR refresh_token_encrypted IS NOT NULL)))
               ORDER BY refreshed_at NULLS FIRST, partner_id LIMIT %(limit)s""",
            {"now": now, "idle": idle_since, "limit": limit},
        )
        return [row["partner_id"] async for row in found]


def with_lists(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"scopes": list(values["scopes"])}


def provider_of(row: Mapping[str, Any]) -> OAuthProvider:
    made = {"grant": OAuthGrant(row["grant"]), "client_auth": ClientAuth(row["client_auth"])}
    return OAuthProvider(**{**row, **made, "scopes": tuple(row["scopes"])})


def connection_of(row: Mapping[str, Any]) -> OAuthConnection:
    return OAuthConnection(**{**row, "status": ConnectionStatus(row["status"]), "scopes": tuple(row["scopes"])})
