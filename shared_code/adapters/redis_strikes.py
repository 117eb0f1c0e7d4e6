"""Failed proofs per address in Redis, and in this process's memory while Redis is down."""

import time
from collections import Counter
from dataclasses import dataclass, field

from shared_code.adapters.redis_client import Outage, translated
from shared_code.adapters.redis_wire import RedisWire, Script

WINDOW_SECONDS = 60
STRIKE = Script("""
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
""")


@dataclass(eq=False)
class RedisStrikes:
    wire: RedisWire
    outage: Outage
    _local: Counter[str] = field(default_factory=Counter[str])
    _minute: int = 0

    async def count(self, address: str) -> int:
        async def shared() -> int:
            with translated():
                return int(await self.wire.ask("GET", f"strikes:{address}") or 0)

        async def local() -> int:
            return self._this_minute()[address]

        return await self.outage.either(shared, local)

    async def add(self, address: str) -> None:
        async def shared() -> None:
            with translated():
                await self.wire.run(STRIKE, (f"strikes:{address}",), (WINDOW_SECONDS,))

        async def local() -> None:
            self._this_minute()[address] += 1

        await self.outage.either(shared, local)

    def _this_minute(self) -> Counter[str]:
        minute = int(time.monotonic() // WINDOW_SECONDS)
        if minute != self._minute:
            self._minute = minute
            self._local.clear()
        return self._local
