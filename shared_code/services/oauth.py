"""Connecting a partner by OAuth: settings, a link for one use, the browser's way there and back (RFC 9700).

What goes wrong on that way is an outcome, not an error: a browser shows it, and the audit trail keeps it.
"""

import logging
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_bytes
from uuid import UUID

from shared_code import errors
from shared_code.model import Caller, OAuthConnection, OAuthGrant, OAuthLink, OAuthProvider, OAuthState, Partner
from shared_code.ports import AuthorizationServer, Cipher, Clock, IssuedTokens, Store, TokenRefused, Transaction
from shared_code.services.audit import Fact, note
from shared_code.services.connections import ConnectionBook, fact
from shared_code.services.oauth_refusals import (
    Refusal,
    refused_fact,
    sent_by_another,
    why_link_refused,
    why_state_refused,
)

logger = logging.getLogger("pinksync.oauth")

LINK_LIVES = timedelta(minutes=30)
STATE_LIVES = timedelta(minutes=10)
VERIFIER_FIELD = "oauth_states.verifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectLink:
    url: str = field(repr=False)
    """Whoever has it may connect the partner, once."""
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Where to send the browser, and the cookie by which it is known when it comes back."""

    url: str = field(repr=False)
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What a browser brings back. None of it is to be believed."""

    state: str | None = field(repr=False)
    code: str | None = field(repr=False)
    error: str | None
    issuer: str | None
    cookie: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class OAuthFlow:
    store: Store
    server: AuthorizationServer
    book: ConnectionBook
    cipher: Cipher
    now: Clock
    public_url: str

    @property
    def redirect_uri(self) -> str:
        return f"{self.public_url}/oauth/callback"

    async def link(self, caller: Caller, partner_id: UUID) -> ConnectLink:
        secret, now = random_text(), self.now()
        async with self.store.transaction() as transaction:
            partner = await transaction.partners.get(partner_id)
            if partner is None or partner.deleted_at:
                raise errors.NotFound()
            provider = await transaction.oauth_providers.get(partner_id)
            if provider is None or provider.grant is not OAuthGrant.AUTHORIZATION_CODE:
                raise errors.Conflict("The partner has no OAuth settings with the grant `authorization_code`.")
            link = OAuthLink(
                link_hash=hashed(secret),
                partner_id=partner_id,
                created_by=caller.actor,
                created_at=now,
                expires_at=now + LINK_LIVES,
            )
            await transaction.oauth_links.add(link)
            await note(transaction, caller, link_fact(partner), now)
        url = f"{self.public_url}/oauth/authorize/{partner_id}?link={secret}"
        return ConnectLink(url=url, expires_at=link.expires_at)

    async def depart(self, caller: Caller, partner_id: UUID | None, link: str | None) -> Departure | Refusal:
        """The link is used up by it."""
        link_hash, now = hashed(link or ""), self.now()
        if partner_id is None:
            return await self._refuse(caller, None, Refusal.LINK_UNKNOWN)
        async with self.store.transaction() as transaction:
            used = await transaction.oauth_links.use(link_hash, partner_id, now)
            provider = await transaction.oauth_providers.get(partner_id) if used else None
            if provider:
                return await self._depart(transaction, provider, now)
            known = await transaction.oauth_links.get(link_hash)
        refusal = why_link_refused(known, partner_id)
        return await self._refuse(caller, partner_id if known else None, refusal)

    async def _depart(self, transaction: Transaction, provider: OAuthProvider, now: datetime) -> Departure:
        secret, cookie, verifier = random_text(), random_text(), random_text()
        sealed = self.cipher.seal(verifier.encode(), str(provider.partner_id), VERIFIER_FIELD)
        state = OAuthState(
            state_hash=hashed(secret),
            browser_hash=hashed(cookie),
            partner_id=provider.partner_id,
            verifier_encrypted=sealed,
            created_at=now,
            expires_at=now + STATE_LIVES,
        )
        await transaction.oauth_states.add(state)
        return Departure(url=self.server.authorize_url(provider, secret, verifier, self.redirect_uri), cookie=cookie)

    async def arrive(self, caller: Caller, back: Return) -> Refusal | None:
        """None: the partner is connected. The state is used up, whatever comes of it."""
        state = await self._recognised(back)
        if isinstance(state, Refusal):
            known = await self._state(back)
            return await self._refuse(caller, known.partner_id if known else None, state)
        refusal = await self._connect(caller, state, back)
        return await self._refuse(caller, state.partner_id, refusal) if refusal else None

    async def _recognised(self, back: Return) -> OAuthState | Refusal:
        if not back.cookie:
            return Refusal.COOKIE_MISSING
        browser = hashed(back.cookie)
        async with self.store.transaction() as transaction:
            state = await transaction.oauth_states.use(hashed(back.state or ""), browser, self.now())
        return state or why_state_refused(await self._state(back), browser)

    async def _state(self, back: Return) -> OAuthState | None:
        async with self.store.reading() as reading:
            return await reading.oauth_states.get(hashed(back.state or ""))

    async def _connect(self, caller: Caller, state: OAuthState, back: Return) -> Refusal | None:
        async with self.store.reading() as reading:
            provider = await reading.oauth_providers.get(state.partner_id)
        if provider is None:
            return Refusal.SETTINGS_CHANGED
        if sent_by_another(provider, back.issuer):
            return Refusal.ISSUER_MISMATCH
        if back.error:
            return Refusal.ACCESS_DENIED if back.error == "access_denied" else Refusal.SERVER_REFUSED
        if not back.code:
            return Refusal.CODE_MISSING
        began = self.now()
        issued = await self._redeemed(provider, state, back.code)
        return issued if isinstance(issued, Refusal) else await self._keep(caller, provider, issued, began)

    async def _redeemed(self, provider: OAuthProvider, state: OAuthState, code: str) -> IssuedTokens | Refusal:
        verifier = self.cipher.open(state.verifier_encrypted, str(state.partner_id), VERIFIER_FIELD).decode()
        try:
            return await self.server.redeem(self.book.client(provider), code, verifier, self.redirect_uri)
        except TokenRefused:
            return Refusal.TOKEN_REFUSED
        except errors.PinkSyncError as error:
            logger.warning("partner %s: no tokens for its code: %s", provider.partner_id, error.code)
            return Refusal.SERVER_UNAVAILABLE

    async def _keep(
        self, caller: Caller, asked: OAuthProvider, issued: IssuedTokens, began: datetime
    ) -> Refusal | None:
        """Nothing of an earlier grant is left in the new one."""
        async with self.store.transaction() as transaction:
            partner = await transaction.partners.get(asked.partner_id, lock=True)
            provider = await transaction.oauth_providers.get(asked.partner_id)
            if partner is None or partner.deleted_at or provider is None or provider.updated_at != asked.updated_at:
                return Refusal.SETTINGS_CHANGED
            before = await transaction.connections.get(asked.partner_id, lock=True)
            version = before.version if before else 0
            fresh = OAuthConnection(partner_id=asked.partner_id, version=version)
            if not await transaction.connections.save(self.book.with_tokens(fresh, provider, issued, began)):
                raise errors.StoreUnavailable("Another change to the same thing is under way.")
            await self.book.connected(transaction, caller, partner, self.now())
        return None

    async def _refuse(self, caller: Caller, partner_id: UUID | None, refusal: Refusal) -> Refusal:
        async with self.store.transaction() as transaction:
            await note(transaction, caller, refused_fact(partner_id, refusal), self.now())
        return refusal


def random_text() -> str:
    """256 bits in 43 characters: also what PKCE asks of a verifier."""
    return urlsafe_b64encode(token_bytes(32)).decode().rstrip("=")


def hashed(secret: str) -> bytes:
    """A plain hash will do for what nobody can guess."""
    return sha256(secret.encode(errors="surrogatepass")).digest()


def link_fact(partner: Partner) -> Fact:
    return fact(partner, "connection.link_made", f"A link to connect partner {partner.name} was made.")
