"""A cache to look keys up in, with time that can be made to pass; and what the tests of it share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import redis.asyncio

from shared_code.adapters.aesgcm_cipher import AesGcmCipher
from shared_code.adapters.memory_access_cache import MemoryAccessCache
from shared_code.adapters.redis_access_cache import RedisAccessCache
from shared_code.adapters.redis_wire import RedisWire
from shared_code.model import Grant, LimitState, PartnerStatus
from shared_code.ports import AccessCache, Look
from tests.contracts.samples import NOW

ONE = UUID("11111111-1111-1111-1111-111111111111")
KEY, PROOF = "pk_live_one", "proof-of-one"


@dataclass(slots=True)
class FakeClock:
    at: datetime = NOW

    def __call__(self) -> datetime:
        return self.at

    async def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Rig:
    """A cache, and a way to make time pass."""

    cache: AccessCache
    forward: Callable[[float], Awaitable[None]]
    now: Callable[[], datetime]


def memory_rig() -> Rig:
    clock = FakeClock()
    return Rig(MemoryAccessCache(clock), clock.forward, clock)


@asynccontextmanager
async def redis_rig(url: str) -> AsyncIterator[Rig]:
    client = redis.asyncio.Redis.from_url(url)
    await client.flushdb()
    cache = RedisAccessCache(RedisWire(client), AesGcmCipher({"c1": bytes(32)}))
    yield Rig(cache, lambda seconds: age(client, seconds), lambda: datetime.now(UTC))
    await cache.close()


async def age(client: redis.asyncio.Redis, seconds: float) -> None:
    """Redis's clock cannot be moved, so everything in it is made older."""
    async for name in client.scan_iter():
        if name.startswith(b"limit:"):
            await client.set(name, int(await client.get(name) or 0) - round(seconds * 1_000_000), keepttl=True)
        left = await client.pttl(name) - round(seconds * 1000)
        await (client.pexpire(name, left) if left > 0 else client.delete(name))


def new_grant(key_id: str = KEY, **changes: object) -> Grant:
    grant = Grant(
        key_id=key_id,
        partner_id=ONE,
        partner_status=PartnerStatus.ACTIVE,
        scopes=("read:*", "write:orders"),
        limit_per_minute=5,
        expires_at=NOW + timedelta(days=3650),
    )
    return replace(grant, **changes)


async def remember(cache: AccessCache, grant: Grant | None = None, proof: str = PROOF) -> Look:
    grant = grant or new_grant()
    return await cache.remember(grant.key_id, proof, grant, await cache.epoch(grant.tenant))


async def standing(asked: Awaitable[Look]) -> LimitState:
    limit = (await asked).limit
    assert limit
    return limit
