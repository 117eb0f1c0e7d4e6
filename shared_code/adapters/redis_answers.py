"""Kept answers of the backend in Redis. `redis_access_cache` finds them in its one round trip."""

import secrets
from dataclasses import dataclass, field

import redis.asyncio

from shared_code.adapters.redis_client import Outage, RedisDown, asked, translated

GENERATION_SECONDS = 86_400


@dataclass(eq=False, slots=True)
class RedisAnswers:
    """ports.Answers; while Redis is down nothing is kept, and what was kept ends by itself."""

    client: redis.asyncio.Redis = field(repr=False)
    outage: Outage

    async def keep(self, tenant: str, resource: str, generation: str, name: str, answer: bytes, seconds: int) -> None:
        """Stored under the generation it was asked for in: if that is over, nobody looks there any more."""
        if self.outage.on:
            return
        try:
            with translated():
                await self.client.set(f"answer:{tenant}:{resource}:{generation}:{name}", answer, ex=seconds)
        except RedisDown as error:
            self.outage.begin(error)

    async def drop(self, tenant: str, resource: str) -> None:
        async def begin_anew() -> None:
            with translated():
                await self.client.set(f"generation:{tenant}:{resource}", secrets.token_hex(8), ex=GENERATION_SECONDS)

        try:
            await asked(begin_anew)
        except RedisDown as error:
            self.outage.begin(error)
