"""The counts of all processes together, in two Redis hashes: since ever, and of one day."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import batched

from shared_code.adapters.redis_client import Outage, RedisDown, translated
from shared_code.adapters.redis_wire import RedisWire, Script
from shared_code.ports import Counts

EVER = "metrics:ever"
EVER_SECONDS = 90 * 86_400
DAY_SECONDS = 2 * 86_400
BATCH_SECONDS = 60

ADD = Script("""
if not redis.call('SET', KEYS[3], '1', 'NX', 'EX', ARGV[3]) then return 0 end
for i = 4, #ARGV, 2 do
  redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('HINCRBYFLOAT', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
""")
"""The batch has a name of its own: asked twice over a lost connection, it is added once."""


@dataclass(eq=False, slots=True)
class RedisSharedCounts:
    wire: RedisWire
    outage: Outage

    async def add(self, deltas: Counts, day: date) -> bool:
        keys = (EVER, day_key(day), f"metrics:batch:{secrets.token_hex(8)}")
        numbers = [word for name, delta in deltas.items() for word in (json.dumps(name), repr(delta))]

        async def write() -> None:
            with translated():
                await self.wire.run(ADD, keys, (EVER_SECONDS, DAY_SECONDS, BATCH_SECONDS, *numbers))

        try:
            await self.outage.reach(write)
        except RedisDown:
            return False
        return True

    async def since_ever(self) -> Counts | None:
        return await self._read(EVER)

    async def of_day(self, day: date) -> Counts | None:
        return await self._read(day_key(day))

    async def _read(self, key: str) -> Counts | None:
        async def read() -> Sequence[bytes]:
            with translated():
                return await self.wire.ask("HGETALL", key)

        try:
            found = await self.outage.reach(read)
        except RedisDown:
            return None
        return {tuple(json.loads(name)): float(value) for name, value in batched(found, 2, strict=True)}


def day_key(day: date) -> str:
    return f"metrics:day:{day.isoformat()}"
