"""Who is calling: from a presented key to a Caller (facts/security.md 2.1, 2.2; design.md flow 1).

Warm, it costs one round trip to the cache. Cold, the key row is read, bcrypt runs bounded in a thread,
and what was learned is remembered. Unknown keys, wrong secrets and dead keys are refused in one way.
"""

import asyncio
from dataclasses import dataclass, field, replace

from shared_code import errors
from shared_code.model import DEFAULT_RATE_LIMIT_PER_MINUTE, ApiKey, Grant, LimitState, PartnerStatus, carrier
from shared_code.ports import AccessCache, Ask, Clock, KeyHasher, Look, Store, Strikes
from shared_code.ports.access import ONLY_ACCESS
from shared_code.services.key_format import PresentedKey, parse

MOST_TENANTS = 10_000
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pinksync"'}


@carrier
class Admission:
    """A proven key: what it may do, and where it stands with its limit now that this request is counted."""

    grant: Grant
    limit: LimitState
    degraded: bool = False
    refusals: int = 0
    """How often the tenant was refused for its limit in the last hour, if it is refused now."""
    generation: str = ""
    answer: bytes | None = field(default=None, repr=False)
    """The kept answer that the request asked for."""

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
    strikes: Strikes
    hasher: KeyHasher
    now: Clock
    key_mode: str
    admin_limit: int
    most_strikes: int
    """Failed proofs a minute from one address; after that its unproven keys cost no bcrypt."""
    _proving: dict[str, asyncio.Future[None]] = field(default_factory=dict[str, "asyncio.Future[None]"])
    _tenants: dict[str, str] = field(default_factory=dict[str, str])
    """Whose key each is. That never changes, so it need not be read again to know which epoch to read first."""

    async def admit(self, presented: str | None, address: str | None = None, ask: Ask = ONLY_ACCESS) -> Admission:
        """Raises Unauthorized. Whether the partner is in good standing is the Admission's to say."""
        key = parse(presented, self.key_mode) if presented else None
        if key is None:
            raise errors.Unauthorized(headers=CHALLENGE)
        proof = self.hasher.proof(key.text)
        look = await self.cache.look(key.key_id, proof, ask)
        if look.grant is None or self._expired(look.grant):
            if not look.proven:
                await self._prove_once(key, proof, address or "unknown")
            look = replace(await self._remembered(key, proof, ask), degraded=look.degraded)
        return admission(look)

    async def _prove_once(self, key: PresentedKey, proof: str, address: str) -> None:
        """The first requests of a new key come in a burst: one bcrypt serves them all."""
        running = self._proving.get(proof)
        if running is None:
            running = self._proving[proof] = asyncio.ensure_future(self._prove(key, address))
            running.add_done_callback(lambda _: self._proving.pop(proof, None))
        await asyncio.shield(running)

    async def _prove(self, key: PresentedKey, address: str) -> None:
        """bcrypt, unless this address failed too often just now (facts/security.md 2.2)."""
        if await self.strikes.count(address) >= self.most_strikes:
            raise errors.RateLimited("Too many wrong keys from this address.", headers={"Retry-After": "60"})
        row = await self._row(key.key_id)
        if not await self.hasher.matches(key.text, row.key_hash if row else None):
            await self.strikes.add(address)
            raise errors.Unauthorized(headers=CHALLENGE)

    async def _remembered(self, key: PresentedKey, proof: str, ask: Ask) -> Look:
        """The epoch is read before the rows: a change in between makes what is remembered void."""
        if key.key_id not in self._tenants:
            await self._row(key.key_id)
        tenant = self._tenants.get(key.key_id)
        epoch = await self.cache.epoch(tenant) if tenant else ""
        grant = await self._grant(key.key_id) if tenant else None
        if grant is None:
            raise errors.Unauthorized(headers=CHALLENGE)
        return await self.cache.remember(key.key_id, proof, grant, epoch, ask)

    async def _row(self, key_id: str) -> ApiKey | None:
        async with self.store.reading() as reading:
            row = await reading.keys.get(key_id)
        if row:
            self._tenants[key_id] = row.tenant
            if len(self._tenants) > MOST_TENANTS:
                del self._tenants[next(iter(self._tenants))]
        return row

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
            own_limit=key.rate_limit_per_minute is not None,
            expires_at=key.expires_at,
        )

    def _expired(self, grant: Grant) -> bool:
        return grant.expires_at is not None and grant.expires_at <= self.now()


def admission(look: Look) -> Admission:
    if look.grant is None or look.limit is None:
        raise errors.Unauthorized(headers=CHALLENGE)
    return Admission(
        grant=look.grant,
        limit=look.limit,
        degraded=look.degraded,
        refusals=look.refusals,
        generation=look.generation,
        answer=look.answer,
    )
