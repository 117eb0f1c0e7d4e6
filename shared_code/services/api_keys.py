"""API keys: made, listed, changed, rotated with grace, revoked. The key itself is shown once, when it is made."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code import errors
from shared_code.model import PARTNER_SCOPES, SCOPE, ApiKey, Caller, Listing, Page, scope_held
from shared_code.ports import AccessCache, Clock, KeyHasher, Store, Transaction
from shared_code.services.audit import Fact, note
from shared_code.services.key_format import PresentedKey, mint

LONGEST_LIFE = timedelta(days=36_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    name: str
    scopes: Sequence[str] | None = None
    expires_at: datetime | None = None
    partner_id: UUID | None = None
    rate_limit_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanges:
    """What is named in `given` is changed. There, None ends a key's own limit or its expiry."""

    name: str | None = None
    scopes: Sequence[str] | None = None
    rate_limit_per_minute: int | None = None
    expires_at: datetime | None = None
    given: Set[str]

    def of(self, key: ApiKey) -> ApiKey:
        return replace(key, **{name: getattr(self, name) for name in self.given})


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedKey:
    """A key at rest together with the only copy of its secret."""

    row: ApiKey
    api_key: str


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Mints keys; the one place where a secret is made and hashed."""

    hasher: KeyHasher
    key_mode: str

    async def mint(self, wanted: NewKey, actor: str, now: datetime, given: PresentedKey | None = None) -> MintedKey:
        key = given or mint(self.key_mode)
        row = ApiKey(
            key_id=key.key_id,
            key_hash=await self.hasher.hash(key.text),
            partner_id=wanted.partner_id,
            name=wanted.name,
            scopes=tuple(sorted(set(wanted.scopes or ()))),
            rate_limit_per_minute=wanted.rate_limit_per_minute,
            expires_at=wanted.expires_at,
            created_at=now,
            created_by=actor,
        )
        return MintedKey(row=row, api_key=key.text)


@dataclass(frozen=True, slots=True)
class ApiKeyService:
    store: Store
    cache: AccessCache
    ring: KeyRing
    now: Clock

    async def create(self, caller: Caller, wanted: NewKey) -> MintedKey:
        partner_id = caller.grant.partner_id or wanted.partner_id
        if caller.grant.partner_id and wanted.partner_id:
            caller.reach(wanted.partner_id)
        caller.own()
        scopes = wanted.scopes if wanted.scopes is not None else default_scopes(caller, partner_id)
        check_scopes(caller, scopes, partner_id)
        check_limit(caller, wanted.rate_limit_per_minute)
        now = self.now()
        check_expiry(wanted.expires_at, now)
        minted = await self.ring.mint(replace(wanted, partner_id=partner_id, scopes=scopes), caller.actor, now)
        async with self.store.transaction() as transaction:
            await self._check_partner(transaction, partner_id)
            await transaction.keys.add(minted.row)
            await note(transaction, caller, key_fact("created", minted.row, {"scopes": list(minted.row.scopes)}), now)
        return minted

    async def list(self, caller: Caller, page: Page, partner_id: UUID | None = None) -> Listing[ApiKey]:
        wanted = caller.reach(partner_id) if partner_id else caller.own()
        async with self.store.reading() as reading:
            return await reading.keys.list(page, partner_id=wanted)

    async def change(self, caller: Caller, key_id: str, changes: KeyChanges) -> ApiKey:
        """Other rights or another end for a living key; they hold from its next request on, everywhere."""
        now = self.now()
        async with self.store.transaction() as transaction:
            key = await self._own_key(transaction, caller, key_id)
            if key.dead(now):
                raise errors.Conflict("This key is revoked or expired; make a new one instead.")
            check_changes(caller, key, changes, now)
            changed = replace(changes.of(key), scopes=tuple(sorted(set(changes.of(key).scopes))))
            await transaction.keys.save(changed)
            await note(transaction, caller, key_fact("changed", key, told(changed, changes.given)), now)
            transaction.after_commit(lambda: self.cache.forget(key.tenant))
        return changed

    async def rotate(self, caller: Caller, key_id: str, grace: timedelta) -> MintedKey:
        """A new key with the old one's rights; the old one dies when the grace ends."""
        now = self.now()
        async with self.store.transaction() as transaction:
            old = await self._own_key(transaction, caller, key_id)
            if old.dead(now):
                raise errors.Conflict("This key is revoked or expired; make a new one instead.")
            check_scopes(caller, old.scopes, old.partner_id)
            minted = await self.ring.mint(like(old), caller.actor, now)
            ends = min(now + grace, old.expires_at) if old.expires_at else now + grace
            await transaction.keys.add(minted.row)
            await transaction.keys.save(replace(old, expires_at=ends))
            changes = {"replaced_by": minted.row.key_id, "expires_at": ends.isoformat()}
            await note(transaction, caller, key_fact("rotated", old, changes), now)
            transaction.after_commit(lambda: self.cache.forget(old.tenant))
        return minted

    async def revoke(self, caller: Caller, key_id: str) -> None:
        now = self.now()
        async with self.store.transaction() as transaction:
            key = await self._own_key(transaction, caller, key_id)
            transaction.after_commit(lambda: self.cache.forget(key.tenant))
            if key.revoked_at is None:
                await transaction.keys.save(replace(key, revoked_at=now))
                await note(transaction, caller, key_fact("revoked", key, {}), now)

    async def _own_key(self, transaction: Transaction, caller: Caller, key_id: str) -> ApiKey:
        caller.own()
        key = await transaction.keys.get(key_id, lock=True)
        if key is None or not (caller.is_admin or key.partner_id == caller.grant.partner_id):
            raise errors.NotFound()
        return key

    async def _check_partner(self, transaction: Transaction, partner_id: UUID | None) -> None:
        if partner_id is None:
            return
        partner = await transaction.partners.get(partner_id)
        if partner is None or partner.deleted_at:
            raise errors.NotFound("There is no such partner.")


def like(key: ApiKey) -> NewKey:
    return NewKey(
        name=key.name,
        scopes=key.scopes,
        expires_at=key.expires_at,
        partner_id=key.partner_id,
        rate_limit_per_minute=key.rate_limit_per_minute,
    )


def default_scopes(caller: Caller, partner_id: UUID | None) -> Sequence[str]:
    """A partner's new key may do what the key that made it may; an admin's for a partner, the usual."""
    if caller.grant.partner_id or partner_id is None:
        return caller.grant.scopes
    return PARTNER_SCOPES


def check_scopes(caller: Caller, scopes: Sequence[str], partner_id: UUID | None) -> None:
    for position, scope in enumerate(scopes):
        pointer = f"/scopes/{position}"
        if not SCOPE.fullmatch(scope):
            refuse(errors.InvalidBody, pointer, "Not a scope: `read:<area>`, `write:<area>`, `read:*` or `write:*`.")
        if not scope_held(scope, caller.grant.scopes):
            refuse(errors.ScopeNotHeld, pointer, f"The key that asks does not hold `{scope}`.")
        if scope == "admin" and partner_id:
            refuse(errors.ScopeNotHeld, pointer, "A partner's key can never be an admin key.")
    if not scopes:
        refuse(errors.InvalidBody, "/scopes", "A key needs at least one scope.")


def check_changes(caller: Caller, key: ApiKey, changes: KeyChanges, now: datetime) -> None:
    for name in ("name", "scopes"):
        if name in changes.given and getattr(changes, name) is None:
            refuse(errors.InvalidBody, f"/{name}", "A key is never without it.")
    if "scopes" in changes.given:
        check_scopes(caller, changes.scopes or (), key.partner_id)
    if "rate_limit_per_minute" in changes.given and not caller.is_admin:
        refuse(errors.InvalidBody, "/rate_limit_per_minute", "Only an admin gives or takes a key's own limit.")
    check_expiry(changes.expires_at, now)


def told(key: ApiKey, given: Set[str]) -> Mapping[str, object]:
    """The fields as the audit trail has them."""
    values = {"name": key.name, "scopes": list(key.scopes), "rate_limit_per_minute": key.rate_limit_per_minute}
    values["expires_at"] = key.expires_at.isoformat() if key.expires_at else None
    return {name: value for name, value in values.items() if name in given}


def check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at and expires_at <= now:
        refuse(errors.InvalidBody, "/expires_at", "This time is already past.")
    if expires_at and expires_at - now > LONGEST_LIFE:  # also beyond what the database can give back as a time
        refuse(errors.InvalidBody, "/expires_at", "This time is more than a hundred years away.")


def check_limit(caller: Caller, limit: int | None) -> None:
    """Its own limit is counted beside its partner's, so a partner that set it would be without one."""
    if limit is not None and not caller.is_admin:
        refuse(errors.InvalidBody, "/rate_limit_per_minute", "Only an admin gives a key a limit of its own.")


def refuse(kind: type[errors.InvalidBody], pointer: str, detail: str) -> None:
    raise kind(violations=[errors.Violation(pointer=pointer, detail=detail)])


def key_fact(what: str, key: ApiKey, changes: Mapping[str, object]) -> Fact:
    return Fact(
        event_type=f"api_key.{what}",
        message=f"API key {key.key_id} was {what}.",
        target=key.key_id,
        partner_id=key.partner_id,
        changes=changes,
    )
