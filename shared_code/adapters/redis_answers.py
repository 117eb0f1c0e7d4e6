"""Kept answers of the backend in Redis. `redis_access_cache` finds them in its one round trip."""

import secrets
from contextlib import suppress
from dataclasses import dataclass

from shared_code.adapters.redis_client import Outage, RedisDown, translated
from shared_code.adapters.redis_wire import RedisWire

GENERATION_SECONDS = 86_400


@dataclass(eq=False, slots=True)
class RedisAnswers:
    """ports.Answers; while Redis is down nothing is kept, and what was kept ends by itself."""

    wire: RedisWire
    outage: Outage

    async def keep(self, tenant: str, resource: str, generation: str, name: str, answer: bytes, seconds: int) -> None:
        """Stored under the generation it was asked for in: if that is over, nobody looks there any more."""

        async def keep() -> None:
            with translated():
                await self.wire.ask("SET", f"answer:{tenant}:{resource}:{generation}:{name}", answer, "EX", seconds)

        with suppress(RedisDown):
            await self.outage.reach(keep)

    async def drop(self, tenant: str, resource: str) -> None:
        async def begin_anew() -> None:
            with translated():
                await self.wire.ask(
                    "SET", f"generation:{tenant}:{resource}", secrets.token_hex(8), "EX", GENERATION_SECONDS
                )

        with suppress(RedisDown):
            await self.outage.insist(begin_anew)
