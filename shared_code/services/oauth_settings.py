"""A partner's OAuth settings, and how its connection stands."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from shared_code import errors
from shared_code.model import (
    AuthMethod,
    Caller,
    ClientAuth,
    ConnectionStatus,
    OAuthConnection,
    OAuthGrant,
    OAuthProvider,
    Partner,
)
from shared_code.ports import Cipher, Clock, Store, Transaction, UrlRule
from shared_code.services.audit import Fact, note
from shared_code.services.connections import SECRET_FIELD, fact
from shared_code.services.upkeep import TokenUpkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProvider:
    grant: OAuthGrant
    authorize_url: str | None
    token_url: str
    revoke_url: str | None
    issuer: str | None
    client_id: str
    client_secret: str = field(repr=False)
    client_auth: ClientAuth
    scopes: Sequence[str]


@dataclass(frozen=True, slots=True)
class ConnectionService:
    store: Store
    cipher: Cipher
    url_rule: UrlRule
    upkeep: TokenUpkeep
    now: Clock

    async def put(self, caller: Caller, partner_id: UUID, wanted: NewProvider) -> OAuthProvider:
        """With the client's own credentials the partner is connected at once, if its server answers; else at the
        first use. Tokens of another server or client are dropped, and never sent to this one.
        """
        self._check(wanted)
        now = self.now()
        async with self.store.transaction() as transaction:
            partner = await self._partner(transaction, partner_id, lock=True)
            if partner.auth_method is not AuthMethod.OAUTH2:
                raise errors.Conflict(f"This partner's auth_method is `{partner.auth_method.value}`, not `oauth2`.")
            before = await transaction.oauth_providers.get(partner_id)
            provider = self._sealed(partner_id, wanted, before.created_at if before else now, now)
            await transaction.oauth_providers.put(provider)
            await transaction.oauth_states.void(partner_id)
            await note(transaction, caller, settings_fact(partner, wanted), now)
            await self._adapt(transaction, before, provider)
        if provider.grant is OAuthGrant.CLIENT_CREDENTIALS:
            await self.upkeep.fetch(partner_id)
        return provider

    async def get(self, caller: Caller, partner_id: UUID) -> OAuthConnection:
        caller.reach(partner_id)
        async with self.store.reading() as reading:
            await self._partner(reading, partner_id)
            found = await reading.connections.get(partner_id)
        return found or OAuthConnection(partner_id=partner_id)

    async def disconnect(self, caller: Caller, partner_id: UUID) -> OAuthConnection:
        """Of no use from now on; then revoked at the partner's server, if it offers that. Safe to repeat."""
        caller.reach(partner_id)
        now = self.now()
        async with self.store.transaction() as transaction:
            partner = await self._partner(transaction, partner_id)
            before = await transaction.connections.get(partner_id, lock=True)
            if before and before.ended_at is None:
                await transaction.connections.save(before.ended(now))
                message = f"Partner {partner.name} was disconnected."
                await note(transaction, caller, fact(partner, "connection.disconnected", message), now)
                transaction.after_commit(lambda: self.upkeep.revoke(partner_id))
        return await self.get(caller, partner_id)

    async def _adapt(self, transaction: Transaction, before: OAuthProvider | None, after: OAuthProvider) -> None:
        """What the new settings leave of the links and the connection."""
        known = await transaction.connections.get(after.partner_id, lock=True)
        same = before is not None and after.honours_tokens_of(before)
        if after.grant is OAuthGrant.CLIENT_CREDENTIALS:
            await transaction.oauth_links.void(after.partner_id)
            known = known or OAuthConnection(partner_id=after.partner_id)
        if known and known.status is ConnectionStatus.CONNECTED and same:
            await transaction.connections.calm(after.partner_id)
        elif known:
            await transaction.connections.save(adapted(known, after.grant, same=same))

    def _sealed(self, partner_id: UUID, wanted: NewProvider, created: datetime, now: datetime) -> OAuthProvider:
        return OAuthProvider(
            partner_id=partner_id,
            grant=wanted.grant,
            authorize_url=wanted.authorize_url,
            token_url=wanted.token_url,
            revoke_url=wanted.revoke_url,
            issuer=wanted.issuer,
            client_id=wanted.client_id,
            client_secret_encrypted=self.cipher.seal(wanted.client_secret.encode(), str(partner_id), SECRET_FIELD),
            client_auth=wanted.client_auth,
            scopes=tuple(wanted.scopes),
            created_at=created,
            updated_at=now,
        )

    def _check(self, wanted: NewProvider) -> None:
        if wanted.grant is OAuthGrant.AUTHORIZATION_CODE and wanted.authorize_url is None:
            detail = "Needed with the grant `authorization_code`."
            raise errors.InvalidBody(violations=[errors.Violation(pointer="/authorize_url", detail=detail)])
        for name in ("authorize_url", "token_url", "revoke_url"):
            url = getattr(wanted, name)
            try:
                if url is not None:
                    self.url_rule(url)
            except errors.UrlNotAllowed as refusal:
                violations = [replace(each, pointer=f"/{name}") for each in refusal.violations]
                raise errors.UrlNotAllowed(refusal.detail, violations) from refusal

    async def _partner(self, transaction: Transaction, partner_id: UUID, *, lock: bool = False) -> Partner:
        partner = await transaction.partners.get(partner_id, lock=lock)
        if partner is None or partner.deleted_at:
            raise errors.NotFound()
        return partner


def adapted(known: OAuthConnection, grant: OAuthGrant, *, same: bool) -> OAuthConnection:
    if grant is OAuthGrant.CLIENT_CREDENTIALS:
        return OAuthConnection(partner_id=known.partner_id, version=known.version)
    if same:
        return known
    connected = known.status is ConnectionStatus.CONNECTED
    return known.without_tokens(ConnectionStatus.NEEDS_REAUTH if connected else known.status)


def settings_fact(partner: Partner, wanted: NewProvider) -> Fact:
    return Fact(
        event_type="connection.settings_put",
        message=f"The OAuth settings of partner {partner.name} were put.",
        target=str(partner.partner_id),
        partner_id=partner.partner_id,
        changes={
            "grant": wanted.grant.value,
            "authorize_url": wanted.authorize_url,
            "revoke_url": wanted.revoke_url,
            "issuer": wanted.issuer,
            "client_id": wanted.client_id,
            "client_secret": wanted.client_secret,
            "scopes": list(wanted.scopes),
        },
    )
