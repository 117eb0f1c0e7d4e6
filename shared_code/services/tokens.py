"""Access tokens of connected partners: renewed before they end and when they are refused, by one caller at a time.

Who renews holds the row's lease, not a transaction: a slow authorization server must not use up the database's
connections. Everybody else waits for the outcome, here and in the other processes.
"""

import asyncio
import logging
import random
from contextvars import Context
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code import errors
from shared_code.model import ConnectionStatus, OAuthConnection, OAuthGrant, OAuthProvider
from shared_code.ports import AuthorizationServer, Clock, IssuedTokens, Store, TokenRefused
from shared_code.services.audit import note, system_caller
from shared_code.services.connections import ConnectionBook, fact, note_failure

LEASE = timedelta(seconds=20)
"""Longer than a token endpoint may take, with the writes after it."""
PATIENCE_SECONDS = 10
REJECTED_APART = timedelta(seconds=10)
"""An API that refuses every token does not make us renew for every call."""
LONGEST_REST = timedelta(minutes=5)
SAVES_APART_SECONDS = (0.2, 1.0, 3.0)

logger = logging.getLogger("pinksync.tokens")


@dataclass(eq=False)
class Tokens:
    store: Store
    server: AuthorizationServer
    book: ConnectionBook
    now: Clock
    _renewing: dict[UUID, asyncio.Task[OAuthConnection]] = field(
        default_factory=dict[UUID, "asyncio.Task[OAuthConnection]"]
    )

    async def current(self, partner_id: UUID) -> str:
        """An access token that lives. Raises Conflict for a partner that is not connected, NeedsReauth for one whose
        connection is lost, TokenUnavailable when its authorization server fails.
        """
        connection = await self._connection(partner_id)
        if connection is None:
            raise not_connected()
        now = self.now()
        if connection.usable(now) and (not connection.ageing(now) or self._must_wait(connection, now)):
            return self.book.access_token(connection)
        connection = await self.renewed(connection)
        if not connection.usable(self.now()):
            raise unusable(connection, self.now())
        return self.book.access_token(connection)

    async def after_rejection(self, partner_id: UUID, rejected: str) -> str | None:
        """Another token than the one that was answered 401; None if there is no better one."""
        connection = await self._connection(partner_id)
        if connection is None or not connection.usable(self.now()):
            return None
        if self.book.access_token(connection) == rejected:
            if just_rejected(connection, self.now()) or connection.resting(self.now()):
                return None
            connection = await self.renewed(connection, rejected=True)
        usable = connection.usable(self.now())
        token = self.book.access_token(connection) if usable else rejected
        return token if token != rejected else None

    async def renewed(self, seen: OAuthConnection, *, rejected: bool = False) -> OAuthConnection:
        """The connection after a renewal: by us, or by whoever is at it already. Not for use in a transaction.

        It goes on when its caller is gone: what the other side has given out must be kept.
        """
        running = self._renewing.get(seen.partner_id)
        if running is None:
            work = self._renew(seen, rejected=rejected)
            running = self._renewing[seen.partner_id] = asyncio.create_task(work, context=Context())
            running.add_done_callback(lambda _: self._renewing.pop(seen.partner_id, None))
        return await asyncio.shield(running)

    async def _renew(self, seen: OAuthConnection, *, rejected: bool) -> OAuthConnection:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                ours = await self._claim(seen)
        except TimeoutError:
            logger.warning("partner %s: its token is being renewed elsewhere, and not done", seen.partner_id)
            return seen
        if ours is None:
            return await self._settled(seen)
        claimed, provider = ours
        return await self._renew_claimed(claimed, provider, rejected=rejected)

    async def _claim(self, seen: OAuthConnection) -> tuple[OAuthConnection, OAuthProvider] | None:
        """Ours to renew, once nobody else is at it; None if it has changed meanwhile, or cannot be renewed now."""
        while True:
            provider, found = await self._read(seen.partner_id)
            now = self.now()
            if provider is None or found is None or found.version != seen.version:
                return None
            if not renewable(found, provider) or found.resting(now):
                return None
            async with self.store.transaction() as transaction:
                claimed = await transaction.connections.claim(found.partner_id, found.version, now, now + LEASE)
            if claimed:
                return claimed, provider
            await briefly()

    async def _settled(self, seen: OAuthConnection) -> OAuthConnection:
        """As it stands now. One that cannot be renewed is lost when its token has ended."""
        provider, found = await self._read(seen.partner_id)
        if provider is None or found is None:
            return seen
        over = found.status is ConnectionStatus.CONNECTED and not found.usable(self.now())
        return await self._lost(found, "no_refresh_token") if over and not renewable(found, provider) else found

    async def _renew_claimed(
        self, claimed: OAuthConnection, provider: OAuthProvider, *, rejected: bool
    ) -> OAuthConnection:
        began = self.now()
        try:
            issued = await self._ask(claimed, provider)
        except TokenRefused as refusal:
            if refusal.error == "invalid_grant" and provider.grant is OAuthGrant.AUTHORIZATION_CODE:
                return await self._lost(claimed, refusal.error)
            return await self._failed(claimed, refusal.error)
        except errors.PinkSyncError as error:
            return await self._failed(claimed, error.code)
        after = self.book.with_tokens(claimed, provider, issued, began)
        if rejected:
            after = replace(after, rejected_at=began)
        kept = await self._keep(claimed, after)
        if kept.status is ConnectionStatus.DISCONNECTED:
            await self._give_back(provider, issued)
        return kept

    async def _ask(self, claimed: OAuthConnection, provider: OAuthProvider) -> IssuedTokens:
        client = self.book.client(provider)
        if provider.grant is OAuthGrant.CLIENT_CREDENTIALS:
            return await self.server.fetch(client)
        return await self.server.refresh(client, self.book.refresh_token(claimed))

    async def _keep(self, claimed: OAuthConnection, after: OAuthConnection) -> OAuthConnection:
        """What came may be the only refresh token there is: a database that is away for a moment is asked again."""
        for pause in SAVES_APART_SECONDS:
            try:
                return await self._save(claimed, after)
            except errors.StoreUnavailable:
                await asyncio.sleep(pause)
        return await self._save(claimed, after)

    async def _save(self, claimed: OAuthConnection, after: OAuthConnection) -> OAuthConnection:
        async with self.store.transaction() as transaction:
            partner = await transaction.partners.get(after.partner_id, lock=True)
            found = await transaction.connections.get(after.partner_id, lock=True)
            if found and after.refresh_token_encrypted == claimed.refresh_token_encrypted:
                after = replace(
                    after, refresh_token_encrypted=found.refresh_token_encrypted
                )  # under a newer key, may be
            saved = await transaction.connections.save(after)
            if saved and partner and claimed.status is not ConnectionStatus.CONNECTED:
                await self.book.connected(transaction, system_caller("tokens"), partner, self.now())
        return await self._connection(after.partner_id) or after

    async def _give_back(self, provider: OAuthProvider, issued: IssuedTokens) -> None:
        """Disconnected while they were on their way: nobody is to have them."""
        if provider.revoke_url is None:
            return
        client, refresh = self.book.client(provider), issued.refresh_token
        try:
            if refresh:
                await self.server.revoke(client, refresh, "refresh_token")
            await self.server.revoke(client, issued.access_token, "access_token")
        except (TokenRefused, errors.PinkSyncError):
            logger.warning("partner %s: a token of an ended connection could not be revoked", provider.partner_id)

    async def _failed(self, claimed: OAuthConnection, reason: str) -> OAuthConnection:
        """Nobody asks again for a while. The first of several in a row is told in the audit trail."""
        now = self.now()
        logger.warning("partner %s: its token could not be renewed: %s", claimed.partner_id, reason)
        async with self.store.transaction() as transaction:
            partner = await transaction.partners.get(claimed.partner_id)
            failed = await note_failure(transaction, claimed, now, LONGEST_REST)
            if failed and partner and claimed.failures == 0:
                message = f"The access token of partner {partner.name} could not be renewed ({reason})."
                failure = fact(partner, "connection.refresh_failed", message, reason)
                await note(transaction, system_caller("tokens"), failure, now)
        return await self._connection(claimed.partner_id) or claimed

    async def _lost(self, claimed: OAuthConnection, reason: str) -> OAuthConnection:
        now = self.now()
        logger.warning("partner %s: its connection is lost: %s", claimed.partner_id, reason)
        async with self.store.transaction() as transaction:
            partner = await transaction.partners.get(claimed.partner_id, lock=True)
            saved = await transaction.connections.save(claimed.without_tokens(ConnectionStatus.NEEDS_REAUTH))
            if saved and partner:
                await self.book.lost(transaction, system_caller("tokens"), partner, reason, now)
        return await self._connection(claimed.partner_id) or claimed

    def _must_wait(self, connection: OAuthConnection, now: datetime) -> bool:
        """Somebody renews it already, or nobody may: what we have will do until it ends."""
        return connection.resting(now) or (connection.lease_until is not None and connection.lease_until > now)

    async def _connection(self, partner_id: UUID) -> OAuthConnection | None:
        async with self.store.reading() as reading:
            return await reading.connections.get(partner_id)

    async def _read(self, partner_id: UUID) -> tuple[OAuthProvider | None, OAuthConnection | None]:
        async with self.store.reading() as reading:
            return await reading.oauth_providers.get(partner_id), await reading.connections.get(partner_id)


def renewable(connection: OAuthConnection, provider: OAuthProvider) -> bool:
    if provider.grant is OAuthGrant.CLIENT_CREDENTIALS:
        return connection.ended_at is None
    return connection.status is ConnectionStatus.CONNECTED and connection.refresh_token_encrypted is not None


def just_rejected(connection: OAuthConnection, now: datetime) -> bool:
    return connection.rejected_at is not None and now < connection.rejected_at + REJECTED_APART


async def briefly() -> None:
    """Until it is worth another look at somebody else's work."""
    await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311 - jitter, not a secret


def unusable(connection: OAuthConnection, now: datetime) -> errors.PinkSyncError:
    """Why there is no token."""
    if connection.status is ConnectionStatus.NEEDS_REAUTH:
        return errors.NeedsReauth()
    if connection.ended_at or (connection.status is ConnectionStatus.DISCONNECTED and not connection.failures):
        return not_connected()
    wait = (connection.not_before - now).total_seconds() if connection.not_before else 0
    return errors.TokenUnavailable(headers={"Retry-After": str(max(1, round(wait)))})


def not_connected() -> errors.Conflict:
    return errors.Conflict("This partner connects by OAuth, and there is no connection.")
