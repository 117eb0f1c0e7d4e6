"""The counts of all processes together, in two Redis hashes: since ever, and of one day."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import redis.asyncio

from shared_code.adapters.redis_client import Outage, RedisDown, translated
from shared_code.ports import Counts

EVER = "metrics:ever"
EVER_SECONDS = 90 * 86_400
DAY_SECONDS = 2 * 86_400


@dataclass(eq=False, slots=True)
class RedisSharedCounts:
    client: redis.asyncio.Redis = field(repr=False)
    outage: Outage

    async def add(self, deltas: Counts, day: date) -> bool:
        """One transaction; asked once only, as a second time could count twice."""

        async def write() -> None:
            with translated():
                await self._written(deltas, day)

        if self.outage.on:
            return False
        try:
            await write()
        except RedisDown:
            return False
        return True

    async def _written(self, deltas: Counts, day: date) -> None:
        async with self.client.pipeline(transaction=True) as pipeline:
            for key, seconds in ((EVER, EVER_SECONDS), (day_key(day), DAY_SECONDS)):
                for name, delta in deltas.items():
                    pipeline.hincrbyfloat(key, json.dumps(name), delta)
                pipeline.expire(key, seconds)
            await pipeline.execute()

    async def since_ever(self) -> Counts | None:
        return await self._read(EVER)

    async def of_day(self, day: date) -> Counts | None:
        return await self._read(day_key(day))

    async def _read(self, key: str) -> Counts | None:
        async def read() -> Mapping[Any, Any]:
            with translated():
                return await self.client.hgetall(key)

        try:
            found = await self.outage.reach(read)
        except RedisDown:
            return None
        return {tuple(json.loads(name)): float(value) for name, value in found.items()}


def day_key(day: date) -> str:
    return f"metrics:day:{day.isoformat()}"
