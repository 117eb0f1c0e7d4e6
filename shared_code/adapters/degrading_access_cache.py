"""The access cache that never fails: Redis while it answers, this process's own memory while it does not.

Limits are then counted per process, and a change made elsewhere is seen when the local state ends.
After an error Redis is left alone for two seconds, so that an outage costs a request nothing.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from shared_code.adapters.redis_access_cache import CacheDown, RedisAccessCache
from shared_code.model import Grant, LimitState
from shared_code.ports import AccessCache, Look

PAUSE_SECONDS = 2.0

logger = logging.getLogger("pinksync.cache")


@dataclass(eq=False, slots=True)
class DegradingAccessCache:
    shared: RedisAccessCache
    local: AccessCache
    _skip_until: float = 0.0

    async def look(self, key_id: str, proof: str) -> Look:
        if time.monotonic() >= self._skip_until:
            try:
                return await self.shared.look(key_id, proof)
            except CacheDown as error:
                self._pause(error)
        return replace(await self.local.look(key_id, proof), degraded=True)

    async def remember(self, key_id: str, proof: str, grant: Grant, epoch: str) -> LimitState:
        return await self._try(
            lambda: self.shared.remember(key_id, proof, grant, epoch),
            lambda: self.local.remember(key_id, proof, grant, epoch),
        )

    async def epoch(self, tenant: str) -> str:
        return await self._try(lambda: self.shared.epoch(tenant), lambda: self.local.epoch(tenant))

    async def forget(self, tenant: str) -> None:
        """Both: what this process holds is void too, should Redis be down next."""
        await self.local.forget(tenant)
        try:
            await self.shared.forget(tenant)
        except CacheDown as error:
            self._pause(error)
            logger.error("a change of %s is not told to the other processes; they see it within a minute", tenant)

    async def ping(self) -> None:
        await self.shared.ping()

    async def close(self) -> None:
        await self.shared.close()
        await self.local.close()

    async def _try[T](self, shared: Callable[[], Awaitable[T]], local: Callable[[], Awaitable[T]]) -> T:
        if time.monotonic() >= self._skip_until:
            try:
                return await shared()
            except CacheDown as error:
                self._pause(error)
        return await local()

    def _pause(self, error: CacheDown) -> None:
        logger.warning("redis does not answer (%s); serving from memory", error)
        self._skip_until = time.monotonic() + PAUSE_SECONDS
