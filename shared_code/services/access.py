"""Who is calling: from a presented key to a Caller (facts/security.md 2.1, 2.2; design.md flow 1).

Warm, it costs one round trip to the cache. Cold, the key row is read, bcrypt runs bounded in a thread,
and what was learned is remembered. Unknown keys, wrong secrets and dead keys are refused in one way.
"""

from dataclasses import dataclass

from shared_code import errors
from shared_code.model import DEFAULT_RATE_LIMIT_PER_MINUTE, ApiKey, Grant, LimitState, PartnerStatus
from shared_code.ports import AccessCache, Clock, KeyHasher, Store
from shared_code.services.key_format import PresentedKey, parse

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pinksync"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A proven key: what it may do, and where it stands with its limit now that this request is counted."""

    grant: Grant
    limit: LimitState
    degraded: bool = False

    def check_standing(self) -> None:
        """Raises RateLimited, PartnerSuspended or PartnerInactive."""
        if self.limit.exceeded:
            raise errors.RateLimited(headers={"Retry-After": str(self.limit.retry_after)})
        if self.grant.partner_status is PartnerStatus.SUSPENDED:
            raise errors.PartnerSuspended()
        if self.grant.partner_status is PartnerStatus.INACTIVE:
            raise errors.PartnerInactive()


@dataclass(frozen=True, slots=True)
class Access:
    store: Store
    cache: AccessCache
    hasher: KeyHasher
    now: Clock
    key_mode: str
    admin_limit: int

    async def admit(self, presented: str | None) -> Admission:
        """Raises Unauthorized. Whether the partner is in good standing is the Admission's to say."""
        key = parse(presented, self.key_mode) if presented else None
        if key is None:
            raise errors.Unauthorized(headers=CHALLENGE)
        proof = self.hasher.proof(key.text)
        look = await self.cache.look(key.key_id, proof)
        if look.grant and look.limit and not self._expired(look.grant):
            return Admission(grant=look.grant, limit=look.limit, degraded=look.degraded)
        if not look.proven:
            await self._prove(key)
        return await self._remembered(key, proof, look.degraded)

    async def _prove(self, key: PresentedKey) -> None:
        row = await self._row(key.key_id)
        if not await self.hasher.matches(key.text, row.key_hash if row else None):
            raise errors.Unauthorized(headers=CHALLENGE)

    async def _remembered(self, key: PresentedKey, proof: str, degraded: bool) -> Admission:
        """The epoch is read before the rows: a change in between makes what is remembered void."""
        row = await self._row(key.key_id)
        epoch = await self.cache.epoch(row.tenant) if row else ""
        grant = await self._grant(key.key_id)
        if grant is None:
            raise errors.Unauthorized(headers=CHALLENGE)
        limit = await self.cache.remember(key.key_id, proof, grant, epoch)
        return Admission(grant=grant, limit=limit, degraded=degraded)

    async def _row(self, key_id: str) -> ApiKey | None:
        async with self.store.reading() as reading:
            return await reading.keys.get(key_id)

    async def _grant(self, key_id: str) -> Grant | None:
        async with self.store.reading() as reading:
            key = await reading.keys.get(key_id)
            if key is None or key.dead(self.now()):
                return None
            partner = await reading.partners.get(key.partner_id) if key.partner_id else None
        if key.partner_id and (partner is None or partner.deleted_at):
            return None
        own_limit = partner.rate_limit_per_minute if partner else self.admin_limit
        return Grant(
            key_id=key.key_id,
            partner_id=key.partner_id,
            partner_status=partner.status if partner else None,
            scopes=key.scopes,
            limit_per_minute=key.rate_limit_per_minute or own_limit or DEFAULT_RATE_LIMIT_PER_MINUTE,
            expires_at=key.expires_at,
        )

    def _expired(self, grant: Grant) -> bool:
        return grant.expires_at is not None and grant.expires_at <= self.now()
