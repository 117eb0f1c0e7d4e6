"""Connections by OAuth in memory: settings, links, states, tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from shared_code.adapters.memory_rows import View
from shared_code.model import ConnectionStatus, OAuthConnection, OAuthLink, OAuthProvider, OAuthState, Partner

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MemoryOAuthProviders:
    providers: View[UUID, OAuthProvider]
    partners: View[UUID, Partner]

    async def put(self, provider: OAuthProvider) -> None:
        self.partners.require(provider.partner_id)
        if not await self.providers.insert(provider.partner_id, provider):
            known = self.providers.get(provider.partner_id)
            created = known.created_at if known else provider.created_at
            self.providers.put(provider.partner_id, replace(provider, created_at=created))

    async def get(self, partner_id: UUID) -> OAuthProvider | None:
        return self.providers.get(partner_id)


class Pass(Protocol):
    """A link or a state."""

    @property
    def partner_id(self) -> UUID: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def used_at(self) -> datetime | None: ...


def good(row: Pass | None, now: datetime) -> bool:
    return row is not None and row.used_at is None and now < row.expires_at


async def delete_of_partner[P: Pass](passes: View[bytes, P], partner_id: UUID) -> None:
    for key in [key for key, each in passes.items() if each.partner_id == partner_id]:
        await passes.remove(key)


@dataclass(frozen=True, slots=True)
class MemoryOAuthLinks:
    links: View[bytes, OAuthLink]
    partners: View[UUID, Partner]

    async def add(self, link: OAuthLink) -> None:
        self.partners.require(link.partner_id)
        await self.links.add(link.link_hash, link)

    async def use(self, link_hash: bytes, partner_id: UUID, now: datetime) -> OAuthLink | None:
        link = await self.links.lock(link_hash)
        if link is None or not good(link, now) or link.partner_id != partner_id:
            return None
        used = replace(link, used_at=now)
        self.links.put(link_hash, used)
        return used

    async def get(self, link_hash: bytes) -> OAuthLink | None:
        return self.links.get(link_hash)

    async def void(self, partner_id: UUID) -> None:
        await delete_of_partner(self.links, partner_id)


@dataclass(frozen=True, slots=True)
class MemoryOAuthStates:
    states: View[bytes, OAuthState]
    partners: View[UUID, Partner]

    async def add(self, state: OAuthState) -> None:
        self.partners.require(state.partner_id)
        await self.states.add(state.state_hash, state)

    async def use(self, state_hash: bytes, browser_hash: bytes, now: datetime) -> OAuthState | None:
        state = await self.states.lock(state_hash)
        if state is None or not good(state, now) or state.browser_hash != browser_hash:
            return None
        used = replace(state, used_at=now)
        self.states.put(state_hash, used)
        return used

    async def get(self, state_hash: bytes) -> OAuthState | None:
        return self.states.get(state_hash)

    async def void(self, partner_id: UUID) -> None:
        await delete_of_partner(self.states, partner_id)


@dataclass(frozen=True, slots=True)
class MemoryOAuthConnections:
    connections: View[UUID, OAuthConnection]
    partners: View[UUID, Partner]

    async def get(self, partner_id: UUID, *, lock: bool = False) -> OAuthConnection | None:
        return await self.connections.lock(partner_id) if lock else self.connections.get(partner_id)

    async def save(self, connection: OAuthConnection) -> bool:
        self.partners.require(connection.partner_id)
        changed = replace(connection, version=connection.version + 1)
        if await self.connections.insert(connection.partner_id, changed):
            return True
        known = self.connections.get(connection.partner_id)
        if known is None or known.version != connection.version:
            return False
        self.connections.put(connection.partner_id, changed)
        return True

    async def calm(self, partner_id: UUID) -> None:
        known = await self.connections.lock(partner_id)
        if known:
            self.connections.put(partner_id, replace(known, failures=0, not_before=None))

    async def claim(self, partner_id: UUID, version: int, now: datetime, until: datetime) -> OAuthConnection | None:
        known = await self.connections.lock(partner_id)
        if known is None or known.version != version or held(known, now):
            return None
        claimed = replace(known, lease_until=until)
        self.connections.put(partner_id, claimed)
        return claimed

    async def due(self, now: datetime, idle_since: datetime, limit: int) -> Sequence[UUID]:
        found = [row.record for row in self.connections.rows() if is_due(row.record, now, idle_since)]
        ordered = sorted(found, key=lambda each: (each.refreshed_at or LONG_AGO, each.partner_id))
        return [each.partner_id for each in ordered[:limit]]


def held(connection: OAuthConnection, now: datetime) -> bool:
    return connection.lease_until is not None and connection.lease_until > now


def is_due(connection: OAuthConnection, now: datetime, idle_since: datetime) -> bool:
    if held(connection, now) or connection.resting(now):
        return False
    if connection.status is ConnectionStatus.DISCONNECTED:
        return connection.has_tokens
    idle = connection.refreshed_at is not None and connection.refreshed_at < idle_since
    return connection.status is ConnectionStatus.CONNECTED and connection.refresh_token_encrypted is not None and idle
