"""Partners: connected, listed, changed, moved between states, removed."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import orjson

from shared_code import errors
from shared_code.model import (
    DEFAULT_RATE_LIMIT_PER_MINUTE,
    PARTNER_SCOPES,
    AuthMethod,
    Caller,
    Endpoint,
    Json,
    Listing,
    OutboxKind,
    Page,
    Partner,
    PartnerMove,
    PartnerStatus,
    PartnerType,
    tenant_of,
)
from shared_code.ports import AccessCache, Cipher, Clock, Store, Transaction, UrlRule
from shared_code.services.api_keys import KeyRing, MintedKey, NewKey, check_scopes
from shared_code.services.audit import Fact, note
from shared_code.services.connections import end_connection
from shared_code.services.credentials import CREDENTIALS_FIELD, unsendable
from shared_code.services.endpoints import EndpointBook, NewEndpoint, OpenedEndpoint
from shared_code.services.relay import Relay

MOST_METADATA = 100
CREDENTIALS: Mapping[AuthMethod, tuple[frozenset[str], frozenset[str]]] = {
    AuthMethod.API_KEY: (frozenset({"api_key"}), frozenset({"header", "query"})),
    AuthMethod.BEARER: (frozenset({"token"}), frozenset()),
    AuthMethod.BASIC: (frozenset({"username", "password"}), frozenset()),
    AuthMethod.OAUTH2: (frozenset(), frozenset({"client_id", "client_secret"})),
}
"""What each method needs, and what it may have besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartner:
    name: str
    type: PartnerType
    auth_method: AuthMethod
    api_endpoint: str | None = None
    credentials: Mapping[str, str] | None = None
    webhook_url: str | None = None
    webhook_events: Sequence[str] = ()
    rate_limit_per_minute: int = DEFAULT_RATE_LIMIT_PER_MINUTE
    scopes: Sequence[str] = PARTNER_SCOPES
    metadata: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedPartner:
    """A new partner with the secrets that are shown this once."""

    partner: Partner
    key: MintedKey
    webhook: OpenedEndpoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerChanges:
    """What is named in `given` is changed. There, None takes the address or the credentials away."""

    name: str | None = None
    api_endpoint: str | None = None
    rate_limit_per_minute: int | None = None
    metadata: Json | None = None
    credentials: Mapping[str, str] | None = None
    given: Set[str]


@dataclass(frozen=True, slots=True)
class PartnerService:
    store: Store
    cache: AccessCache
    ring: KeyRing
    book: EndpointBook
    cipher: Cipher
    relay: Relay
    url_rule: UrlRule
    now: Clock

    async def connect(self, caller: Caller, wanted: NewPartner) -> ConnectedPartner:
        """The partner, its first key and its endpoint are stored as one; the webhook service hears of it
        after the commit, and again by the timer until it has understood."""
        now, partner_id = self.now(), uuid4()
        check_scopes(caller, wanted.scopes, partner_id)
        partner = self._new_partner(wanted, partner_id, caller.actor, now)
        key = await self.ring.mint(
            NewKey(name="first key", scopes=wanted.scopes, partner_id=partner_id), caller.actor, now
        )
        async with self.store.transaction() as transaction:
            await transaction.partners.add(partner)
            await transaction.keys.add(key.row)
            await note(transaction, caller, connected_fact(partner, wanted), now)
            webhook = await self._open_webhook(transaction, caller, partner, wanted, now)
        return ConnectedPartner(partner=partner, key=key, webhook=webhook)

    async def get(self, caller: Caller, partner_id: UUID) -> Partner:
        caller.reach(partner_id)
        async with self.store.reading() as reading:
            partner = await reading.partners.get(partner_id)
        if partner is None:
            raise errors.NotFound()
        return partner

    async def list(
        self, page: Page, *, type: PartnerType | None = None, status: PartnerStatus | None = None
    ) -> Listing[Partner]:
        async with self.store.reading() as reading:
            return await reading.partners.list(page, type=type, status=status)

    async def webhooks(self, caller: Caller, partner_id: UUID, page: Page) -> Listing[Endpoint]:
        await self.get(caller, partner_id)
        async with self.store.reading() as reading:
            return await reading.endpoints.list(page, partner_id=partner_id)

    async def change(self, caller: Caller, partner_id: UUID, changes: PartnerChanges) -> Partner:
        now = self.now()
        async with self.store.transaction() as transaction:
            before = await self._locked(transaction, partner_id)
            after = self._changed(before, changes, now)
            await transaction.partners.save(after)
            await note(transaction, caller, changed_fact(partner_id, changes), now)
            transaction.after_commit(lambda: self.cache.forget(tenant_of(partner_id)))
        return after

    async def move(self, caller: Caller, partner_id: UUID, move: PartnerMove) -> Partner:
        now = self.now()
        async with self.store.transaction() as transaction:
            before = await self._locked(transaction, partner_id, deleted=True)
            after = before.moved(move, now)
            await transaction.partners.save(after)
            await note(transaction, caller, moved_fact(before, after, move), now)
            transaction.after_commit(lambda: self.cache.forget(tenant_of(partner_id)))
        return after

    async def remove(self, caller: Caller, partner_id: UUID) -> None:
        """Its keys die at once and its webhooks stop; the row stays, inactive. Safe to repeat."""
        now = self.now()
        async with self.store.transaction() as transaction:
            partner = await self._locked(transaction, partner_id, deleted=True)
            transaction.after_commit(lambda: self.cache.forget(tenant_of(partner_id)))
            if partner.deleted_at:
                return
            gone = replace(partner, status=PartnerStatus.INACTIVE, deleted_at=now, updated_at=now)
            await transaction.partners.save(replace(gone, credentials_encrypted=None))
            await transaction.keys.revoke_all(partner_id, now)
            await transaction.endpoints.close_all(partner_id, now)
            await end_connection(transaction, partner_id, now)
            await transaction.inbound_secrets.expire(partner_id, now, now)
            await transaction.jobs.cancel_all(partner_id, now)
            item = await transaction.outbox.add(OutboxKind.CLOSE_PARTNER, partner_id, str(partner_id), now)
            await note(transaction, caller, removed_fact(partner), now)
            transaction.after_commit(lambda: self.relay.work_now([item]))

    def _new_partner(self, wanted: NewPartner, partner_id: UUID, actor: str, now: datetime) -> Partner:
        if wanted.api_endpoint:
            self._check_url(wanted.api_endpoint, "/api_endpoint")
        pending = wanted.auth_method is AuthMethod.OAUTH2
        return Partner(
            partner_id=partner_id,
            name=wanted.name,
            type=wanted.type,
            status=PartnerStatus.PENDING if pending else PartnerStatus.ACTIVE,
            auth_method=wanted.auth_method,
            api_endpoint=wanted.api_endpoint,
            credentials_encrypted=self._sealed(partner_id, wanted.auth_method, wanted.credentials),
            rate_limit_per_minute=wanted.rate_limit_per_minute,
            metadata=wanted.metadata or {},
            created_at=now,
            updated_at=now,
            created_by=actor,
        )

    async def _open_webhook(
        self, transaction: Transaction, caller: Caller, partner: Partner, wanted: NewPartner, now: datetime
    ) -> OpenedEndpoint | None:
        if not wanted.webhook_events:
            return None
        endpoint = NewEndpoint(url=webhook_url(wanted), events=wanted.webhook_events)
        try:
            return await self.book.open(transaction, caller, partner.partner_id, endpoint, now)
        except errors.InvalidBody as refusal:
            raise renamed(refusal, {"/url": "/webhook_url", "/events": "/webhook_events"}) from refusal

    def _changed(self, before: Partner, changes: PartnerChanges, now: datetime) -> Partner:
        if changes.api_endpoint:
            self._check_url(changes.api_endpoint, "/api_endpoint")
        check_needed(changes)
        sealed = self._sealed(before.partner_id, before.auth_method, changes.credentials)
        return replace(
            before,
            name=changes.name or before.name,
            api_endpoint=changes.api_endpoint if "api_endpoint" in changes.given else before.api_endpoint,
            rate_limit_per_minute=changes.rate_limit_per_minute or before.rate_limit_per_minute,
            metadata=merged(before.metadata, changes.metadata or {}),
            credentials_encrypted=sealed if "credentials" in changes.given else before.credentials_encrypted,
            updated_at=now,
        )

    def _sealed(self, partner_id: UUID, method: AuthMethod, credentials: Mapping[str, str] | None) -> str | None:
        if credentials is None:
            return None
        check_credentials(method, credentials)
        return self.cipher.seal(orjson.dumps(dict(credentials)), str(partner_id), CREDENTIALS_FIELD)

    def _check_url(self, url: str, pointer: str) -> None:
        try:
            self.url_rule(url)
        except errors.UrlNotAllowed as refusal:
            raise renamed(refusal, {"/url": pointer}) from refusal

    async def _locked(self, transaction: Transaction, partner_id: UUID, *, deleted: bool = False) -> Partner:
        partner = await transaction.partners.get(partner_id, lock=True)
        if partner is None or (partner.deleted_at and not deleted):
            raise errors.NotFound()
        return partner


def webhook_url(wanted: NewPartner) -> str:
    """As given, or `/webhooks/pinksync` on the origin of the partner's API."""
    if wanted.webhook_url:
        return wanted.webhook_url
    if not wanted.api_endpoint:
        detail = "Needed for `webhook_events`, as there is no `api_endpoint` to take the origin from."
        raise errors.InvalidBody(violations=[errors.Violation(pointer="/webhook_url", detail=detail)])
    parts = urlsplit(wanted.api_endpoint)
    return f"{parts.scheme}://{parts.netloc}/webhooks/pinksync"


def check_needed(changes: PartnerChanges) -> None:
    for name in ("name", "rate_limit_per_minute"):
        if name in changes.given and getattr(changes, name) is None:
            violation = errors.Violation(pointer=f"/{name}", detail="A partner is never without it.")
            raise errors.InvalidBody(violations=[violation])


def check_credentials(method: AuthMethod, credentials: Mapping[str, str]) -> None:
    needed, allowed = CREDENTIALS[method]
    missing = {name: "Needed" for name in needed - set(credentials)}
    unknown = {name: "Not used" for name in set(credentials) - needed - allowed}
    violations = [
        errors.Violation(pointer=f"/credentials/{name}", detail=f"{problem} with auth_method `{method.value}`.")
        for name, problem in sorted((missing | unknown).items())
    ]
    if not violations and (name := unsendable(method, credentials)):
        violations = [errors.Violation(pointer=f"/credentials/{name}", detail="No header can carry this.")]
    if violations:
        raise errors.InvalidBody(violations=violations)


def merged(before: Json, changes: Json) -> Json:
    """RFC 7396 at the top level: null removes a member."""
    both = {name: value for name, value in {**before, **changes}.items() if value is not None}
    if len(both) > MOST_METADATA:
        detail = f"With what is there already this makes more than {MOST_METADATA} members."
        raise errors.InvalidBody(violations=[errors.Violation(pointer="/metadata", detail=detail)])
    return both


def renamed(refusal: errors.InvalidBody, pointers: Mapping[str, str]) -> errors.InvalidBody:
    """The same refusal, told with the caller's own field names."""

    def rename(violation: errors.Violation) -> errors.Violation:
        for old, new in pointers.items():
            if violation.pointer.startswith(old):
                return replace(violation, pointer=new + violation.pointer.removeprefix(old))
        return violation

    return type(refusal)(refusal.detail, [rename(violation) for violation in refusal.violations])


def connected_fact(partner: Partner, wanted: NewPartner) -> Fact:
    return Fact(
        event_type="partner.connected",
        message=f"Partner {partner.name} was connected.",
        target=str(partner.partner_id),
        partner_id=partner.partner_id,
        changes={
            "name": partner.name,
            "type": partner.type.value,
            "auth_method": partner.auth_method.value,
            "api_endpoint": partner.api_endpoint,
            "credentials": wanted.credentials and sorted(wanted.credentials),
            "rate_limit_per_minute": partner.rate_limit_per_minute,
            "scopes": list(wanted.scopes),
        },
    )


def changed_fact(partner_id: UUID, changes: PartnerChanges) -> Fact:
    given = {name: getattr(changes, name) for name in sorted(changes.given)}
    return Fact(
        event_type="partner.updated",
        message="Partner was changed: " + ", ".join(given) + ".",
        target=str(partner_id),
        partner_id=partner_id,
        changes=given,
    )


def moved_fact(before: Partner, after: Partner, move: PartnerMove) -> Fact:
    words = {PartnerMove.ACTIVATE: "activated", PartnerMove.SUSPEND: "suspended", PartnerMove.DEACTIVATE: "deactivated"}
    return Fact(
        event_type=f"partner.{words[move]}",
        message=f"Partner {after.name} was {words[move]}.",
        target=str(after.partner_id),
        partner_id=after.partner_id,
        changes={"status": {"from": before.status.value, "to": after.status.value}},
    )


def removed_fact(partner: Partner) -> Fact:
    return Fact(
        event_type="partner.removed",
        message=f"Partner {partner.name} was removed; its keys are dead.",
        target=str(partner.partner_id),
        partner_id=partner.partner_id,
    )
