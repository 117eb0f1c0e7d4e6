"""What connections need while nobody uses them: refresh tokens kept alive, ended grants revoked."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from shared_code import errors
from shared_code.model import ConnectionStatus, OAuthConnection, OAuthProvider
from shared_code.ports import AuthorizationServer, Clock, Store, TokenRefused
from shared_code.services.audit import note, system_caller
from shared_code.services.connections import ConnectionBook, fact, note_failure
from shared_code.services.tokens import LEASE, Tokens

KEPT_ALIVE = timedelta(hours=24)
"""A refresh token that is not used for weeks is taken back by many servers; one a day is enough for any."""
BATCH = 50
AT_ONCE = 5
MOST_REVOCATIONS = 12
LONGEST_REVOCATION_REST = timedelta(hours=1)

logger = logging.getLogger("pinksync.tokens")


@dataclass(frozen=True, slots=True)
class TokenUpkeep:
    store: Store
    server: AuthorizationServer
    book: ConnectionBook
    tokens: Tokens
    now: Clock

    async def refresh_due(self) -> int:
        """Renews what was idle for a day, revokes what was ended. Answers how many connections were looked after."""
        now, turns = self.now(), asyncio.Semaphore(AT_ONCE)
        async with self.store.transaction() as transaction:
            due = await transaction.connections.due(now, now - KEPT_ALIVE, BATCH)

        async def tend(partner_id: UUID) -> None:
            async with turns:
                await self._tend(partner_id)

        await asyncio.gather(*(tend(partner_id) for partner_id in due))
        return len(due)

    async def revoke(self, partner_id: UUID) -> None:
        """What is still owed for a connection that was ended; if it fails, the timer tries again. Never raises."""
        await self._tend(partner_id)

    async def fetch(self, partner_id: UUID) -> None:
        """The first token by the client's own credentials; if it fails, the first use asks again. Never raises."""
        await self._tend(partner_id)

    async def _tend(self, partner_id: UUID) -> None:
        try:
            async with self.store.reading() as reading:
                provider = await reading.oauth_providers.get(partner_id)
                connection = await reading.connections.get(partner_id)
            if connection is None or provider is None:
                return
            if connection.status is ConnectionStatus.DISCONNECTED and connection.has_tokens:
                await self._revoke(provider, connection)
            else:
                await self.tokens.renewed(connection)
        except errors.PinkSyncError as error:
            logger.error("partner %s: its connection could not be looked after: %s", partner_id, error.code)

    async def _revoke(self, provider: OAuthProvider, seen: OAuthConnection) -> None:
        now = self.now()
        async with self.store.transaction() as transaction:
            claimed = await transaction.connections.claim(seen.partner_id, seen.version, now, now + LEASE)
        if claimed is None:
            return
        try:
            await self._tell(provider, claimed)
        except (TokenRefused, errors.PinkSyncError) as error:
            await self._not_told(claimed, error.error if isinstance(error, TokenRefused) else error.code)
        else:
            await self._forget(claimed)

    async def _tell(self, provider: OAuthProvider, claimed: OAuthConnection) -> None:
        """The refresh token first: it could still get new access tokens."""
        if provider.revoke_url is None:
            return
        client = self.book.client(provider)
        if claimed.refresh_token_encrypted:
            await self.server.revoke(client, self.book.refresh_token(claimed), "refresh_token")
        if claimed.access_token_encrypted:
            await self.server.revoke(client, self.book.access_token(claimed), "access_token")

    async def _not_told(self, claimed: OAuthConnection, reason: str) -> None:
        logger.warning("partner %s: its tokens could not be revoked: %s", claimed.partner_id, reason)
        if claimed.failures + 1 < MOST_REVOCATIONS:
            async with self.store.transaction() as transaction:
                await note_failure(transaction, claimed, self.now(), LONGEST_REVOCATION_REST)
        else:
            await self._forget(claimed, reason)

    async def _forget(self, claimed: OAuthConnection, reason: str | None = None) -> None:
        """With a reason: they live on at the other side until they end by themselves, and the audit trail says so."""
        async with self.store.transaction() as transaction:
            await transaction.connections.save(claimed.without_tokens(ConnectionStatus.DISCONNECTED))
            partner = await transaction.partners.get(claimed.partner_id)
            if reason and partner:
                message = f"The tokens of partner {partner.name} could not be revoked at its server ({reason})."
                failure = fact(partner, "connection.revoke_failed", message, reason)
                await note(transaction, system_caller("tokens"), failure, self.now())
