"""What is known of presented keys, and their limits, in Redis: one Lua call per warm request.

- `proof:<hmac>`  this secret passed bcrypt; 60 minutes. The name gives nothing away.
- `state:<key id>`  the grant, 60 seconds. Sealed, so that who can write to Redis cannot raise a scope.
- `epoch:<tenant>`  changed by every change of the tenant's keys or status; a state of another epoch is void.
- `limit:<tenant>`  the theoretical arrival time of a GCRA bucket, on Redis's own clock (facts/security.md 2.7).

All keys live on one shard (no cluster mode): the script builds the tenant's names from the state it read.
"""

import math
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared_code.model import Grant, LimitState, PartnerStatus
from shared_code.ports import Cipher, Look

PATIENCE = 0.1
PROOF_SECONDS = 3600
STATE_SECONDS = 60
EPOCH_SECONDS = 86_400
FIELD = "grant"

CHARGE = """
local function charge(tenant, limit)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local step = 60000000 / limit
  local name = 'limit:' .. tenant
  local due = math.max(tonumber(redis.call('GET', name) or '0'), now)
  local wait = due + step - limit * step - now
  if wait > 0.5 then
    return {limit, 0, math.ceil(due / 1000000), math.max(1, math.ceil(wait / 1000000))}
  end
  due = due + step
  redis.call('SET', name, string.format('%.0f', due), 'PX', math.max(1, math.ceil((due - now) / 1000)))
  return {limit, math.floor((limit * step - (due - now)) / step + 0.000001), math.ceil(due / 1000000), 0}
end
"""
LOOK = (
    CHARGE
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
local state = redis.call('HMGET', KEYS[2], 'tenant', 'epoch', 'limit', 'sealed')
if not state[1] then return {1} end
if (redis.call('GET', 'epoch:' .. state[1]) or '') ~= state[2] then return {1} end
return {2, state[4], unpack(charge(state[1], tonumber(state[3])))}
"""
)
REMEMBER = (
    CHARGE
    + """
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
redis.call('HSET', KEYS[2], 'tenant', ARGV[3], 'epoch', ARGV[4], 'limit', ARGV[5], 'sealed', ARGV[6])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return charge(ARGV[3], tonumber(ARGV[5]))
"""
)


class CacheDown(Exception):
    """Redis did not answer in time."""


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise CacheDown(type(error).__name__) from error


@dataclass(eq=False)
class RedisAccessCache:
    """ports.AccessCache; every method raises CacheDown within a tenth of a second when Redis does not answer."""

    url: str = field(repr=False)
    cipher: Cipher

    def __post_init__(self) -> None:
        self.client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            self.url,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),
            max_connections=64,
        )
        self._look = self.client.register_script(LOOK)
        self._remember = self.client.register_script(REMEMBER)
        self._grant = lru_cache(maxsize=5000)(self._unsealed)

    async def look(self, key_id: str, proof: str) -> Look:
        async with translated():
            answer: Sequence[Any] = await self._look(keys=(f"proof:{proof}", f"state:{key_id}"))
        if answer[0] != 2:
            return Look(proven=answer[0] == 1)
        return Look(proven=True, grant=self._grant(key_id, answer[1]), limit=limit_state(answer[2:]))

    async def remember(self, key_id: str, proof: str, grant: Grant, epoch: str) -> LimitState:
        sealed = self.cipher.seal(to_json(grant), key_id, FIELD)
        values = (PROOF_SECONDS, STATE_SECONDS, grant.tenant, epoch, grant.limit_per_minute, sealed)
        async with translated():
            return limit_state(await self._remember(keys=(f"proof:{proof}", f"state:{key_id}"), args=values))

    async def epoch(self, tenant: str) -> str:
        async with translated():
            value: Any = await self.client.get(f"epoch:{tenant}")
        return value.decode() if value else ""

    async def forget(self, tenant: str) -> None:
        async with translated():
            await self.client.set(f"epoch:{tenant}", secrets.token_hex(8), ex=EPOCH_SECONDS)

    async def ping(self) -> None:
        async with translated():
            await self.client.ping()  # pyright: ignore[reportGeneralTypeIssues] - typed for both kinds of client

    async def close(self) -> None:
        await self.client.aclose()

    def _unsealed(self, key_id: str, sealed: bytes) -> Grant:
        """Remembered per sealed text: decrypting the same grant again tells nothing new."""
        return from_json(self.cipher.open(sealed.decode(), key_id, FIELD))


def limit_state(answer: Sequence[Any]) -> LimitState:
    limit, remaining, reset, retry_after = (math.floor(number) for number in answer)
    return LimitState(limit=limit, remaining=remaining, reset=reset, retry_after=retry_after)


def to_json(grant: Grant) -> bytes:
    return orjson.dumps(grant)


def from_json(text: bytes) -> Grant:
    values = orjson.loads(text)
    return Grant(
        key_id=values["key_id"],
        partner_id=UUID(values["partner_id"]) if values["partner_id"] else None,
        partner_status=PartnerStatus(values["partner_status"]) if values["partner_status"] else None,
        scopes=tuple(values["scopes"]),
        limit_per_minute=values["limit_per_minute"],
        expires_at=datetime.fromisoformat(values["expires_at"]) if values["expires_at"] else None,
    )
