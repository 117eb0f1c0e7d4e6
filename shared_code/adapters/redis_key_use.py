"""When keys were last used: marked by every admitted request, taken in batches (facts/security.md 2.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis.asyncio

from shared_code.adapters.redis_client import Outage, RedisDown, translated


@dataclass(eq=False, slots=True)
class RedisKeyUse:
    client: redis.asyncio.Redis = field(repr=False)
    outage: Outage

    async def take(self, most: int) -> Mapping[str, datetime]:
        async def pop() -> Any:
            with translated():
                return await self.client.zpopmin("used", most)

        try:
            popped = await self.outage.reach(pop)
        except RedisDown:
            return {}
        return {name.decode(): datetime.fromtimestamp(at, UTC) for name, at in popped}
