"""When keys were last used: marked by every admitted request, taken in batches (facts/security.md 2.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched

from shared_code.adapters.redis_client import Outage, RedisDown, translated
from shared_code.adapters.redis_wire import RedisWire


@dataclass(eq=False, slots=True)
class RedisKeyUse:
    wire: RedisWire
    outage: Outage

    async def take(self, most: int) -> Mapping[str, datetime]:
        async def pop() -> Sequence[bytes]:
            with translated():
                return await self.wire.ask("ZPOPMIN", "used", most)

        try:
            popped = await self.outage.reach(pop)
        except RedisDown:
            return {}
        return {name.decode(): datetime.fromtimestamp(float(at), UTC) for name, at in batched(popped, 2, strict=True)}
