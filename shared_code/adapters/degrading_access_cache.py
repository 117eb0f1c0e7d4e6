"""The access cache that never fails: Redis while it answers, this process's own memory while it does not.

Limits are then counted per process, and a change made elsewhere is seen when the local state ends.
"""

import logging
from dataclasses import dataclass, replace

from shared_code.adapters.redis_access_cache import RedisAccessCache
from shared_code.adapters.redis_client import Outage, RedisDown
from shared_code.model import Grant
from shared_code.ports import AccessCache, Ask, Look
from shared_code.ports.access import ONLY_ACCESS

logger = logging.getLogger("pinksync.redis")


@dataclass(eq=False, slots=True)
class DegradingAccessCache:
    shared: RedisAccessCache
    local: AccessCache
    outage: Outage

    async def look(self, key_id: str, proof: str, ask: Ask = ONLY_ACCESS) -> Look:
        if not self.outage.on:
            try:
                return await self.shared.look(key_id, proof, ask)
            except RedisDown as error:
                self.outage.begin(error)
        return replace(await self.local.look(key_id, proof, ask), degraded=True)

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
        try:
            await self.shared.forget(tenant)
        except RedisDown as error:
            self.outage.begin(error)
            logger.error("a change of %s is not told to the other processes; they see it within a minute", tenant)

    async def ping(self) -> None:
        await self.shared.ping()

    async def close(self) -> None:
        await self.shared.close()
        await self.local.close()
