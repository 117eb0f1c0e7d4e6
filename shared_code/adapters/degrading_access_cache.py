"""The access cache that never fails: Redis while it answers, this process's own memory while it does not.

Limits are then counted per process, and a change made elsewhere is seen when the local state ends, after seconds.
Which keys were proven is noted all along: an outage, or a Redis that comes back empty, costs each key a look at the
store, but no bcrypt, which would be a flood of it.
"""

import logging
import time
from dataclasses import dataclass, field, replace

from shared_code.adapters.memory_access_cache import keep
from shared_code.adapters.redis_access_cache import RedisAccessCache
from shared_code.adapters.redis_client import Outage, RedisDown
from shared_code.model import Grant
from shared_code.ports import AccessCache, Ask, Look
from shared_code.ports.access import ONLY_ACCESS

PROOF_SECONDS = 900.0

logger = logging.getLogger("pinksync.redis")


@dataclass(eq=False, slots=True)
class DegradingAccessCache:
    shared: RedisAccessCache
    local: AccessCache
    outage: Outage
    _proven_until: dict[str, float] = field(default_factory=dict[str, float], repr=False)
    _untold: set[str] = field(default_factory=set[str])
    """Tenants whose change Redis does not know of yet."""

    async def look(self, key_id: str, proof: str, ask: Ask = ONLY_ACCESS) -> Look:
        """`Outage.reach` written out, as every request comes through here."""
        look = None
        if not self.outage.on:
            try:
                if self._untold:
                    await self._tell()
                look = await self.shared.look(key_id, proof, ask)
            except RedisDown as error:
                self.outage.begin(error)
        if look is None:
            look = replace(await self.local.look(key_id, proof, ask), degraded=True)
        now = time.monotonic()
        noted = self._proven_until.get(proof, 0.0) > now
        if look.proven and not noted:
            keep(self._proven_until, proof, now + PROOF_SECONDS)
        return replace(look, proven=True) if noted and not look.proven else look

    async def remember(self, key_id: str, proof: str, grant: Grant, epoch: str, ask: Ask = ONLY_ACCESS) -> Look:
        return await self.outage.either(
            lambda: self.shared.remember(key_id, proof, grant, epoch, ask),
            lambda: self.local.remember(key_id, proof, grant, epoch, ask),
        )

    async def epoch(self, tenant: str) -> str:
        return await self.outage.either(lambda: self.shared.epoch(tenant), lambda: self.local.epoch(tenant))

    async def forget(self, tenant: str) -> None:
        """Both: what this process holds is void too, should Redis be down next."""
        await self.local.forget(tenant)
        self._untold.add(tenant)
        try:
            await self.outage.insist(self._tell)
        except RedisDown:
            logger.error("a change of %s is not told to the other processes yet; it is within a minute", tenant)

    async def _tell(self) -> None:
        """What could not be told while Redis was down comes before anything that Redis still remembers."""
        for tenant in tuple(self._untold):
            await self.shared.forget(tenant)
            self._untold.discard(tenant)

    async def ping(self) -> None:
        await self.shared.ping()

    async def close(self) -> None:
        await self.shared.close()
        await self.local.close()
