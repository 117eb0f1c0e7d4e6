"""What is known of presented keys, their limits, and kept answers, in Redis: one Lua call per warm request.

- `proof:<keyed hash>`  this secret passed bcrypt; 60 minutes. The name gives nothing away.
- `state:<key id>`  the grant, 60 seconds. Sealed, so that who can write to Redis cannot raise a scope.
- `epoch:<tenant>`  changed by every change of the tenant's keys or status; a state of another epoch is void.
- `limit:<bucket>[:<route>]`  when a GCRA bucket is full again, on Redis's own clock (facts/security.md 2.7).
- `refused:<tenant>`  refusals in the last hour.
- `used`  a sorted set of the keys used since the last flush, by time.
- `generation:<tenant>:<resource>`, `answer:<tenant>:<resource>:<generation>:<name>`  kept answers.

All keys live on one shard (no cluster mode): the script builds the tenant's names from the state it read.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from shared_code.adapters.redis_client import FAILURES, RedisDown, translated
from shared_code.adapters.redis_wire import RedisWire, Script
from shared_code.errors import PinkSyncError
from shared_code.model import Grant, LimitState, PartnerStatus
from shared_code.ports import Ask, Cipher, Look
from shared_code.ports.access import ONLY_ACCESS

PROOF_SECONDS = 3600
STATE_SECONDS = 60
EPOCH_SECONDS = 86_400
FIELD = "grant"
UNKNOWN, PROVEN, KNOWN = 0, 1, 2

ADMIT = """
local function bucket_of(name, limit, now)
  local step = 60000000 / limit
  local due = math.max(tonumber(redis.call('GET', name) or '0'), now)
  return {name = name, limit = limit, step = step, due = due, wait = due + step - limit * step - now}
end

local function refusal(bucket)
  if bucket and bucket.wait > 0.5 then
    return {bucket.limit, 0, math.ceil(bucket.due / 1000000), math.max(1, math.ceil(bucket.wait / 1000000))}
  end
end

local function spend(bucket, now)
  local due = bucket.due + bucket.step
  redis.call('SET', bucket.name, string.format('%.0f', due), 'PX', math.max(1, math.ceil((due - now) / 1000)))
  local left = (bucket.limit * bucket.step - (due - now)) / bucket.step
  return {bucket.limit, math.floor(left + 0.000001), math.ceil(due / 1000000), 0}
end

local function charge(own, narrow, now)
  local refused = refusal(own) or refusal(narrow)
  if refused then return refused end
  local state = spend(own, now)
  local narrowed = narrow and spend(narrow, now)
  return narrowed and narrowed[2] < state[2] and narrowed or state
end

local function admit(key_id, tenant, bucket, limit, sealed, route, route_limit, resource, name)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local narrow = route ~= '' and tenant ~= 'house'
    and bucket_of('limit:' .. bucket .. ':' .. route, tonumber(route_limit), now)
  local state = charge(bucket_of('limit:' .. bucket, limit, now), narrow, now)
  local refusals, generation, answer = 0, '', ''
  if state[4] > 0 then
    refusals = redis.call('INCR', 'refused:' .. tenant)
    if refusals == 1 then redis.call('EXPIRE', 'refused:' .. tenant, 3600) end
  else
    if redis.call('ZADD', 'used', time[1], key_id) == 1 then redis.call('EXPIRE', 'used', 86400) end
    if resource ~= '' then
      generation = redis.call('GET', 'generation:' .. tenant .. ':' .. resource) or '0'
      answer = redis.call('GET', 'answer:' .. tenant .. ':' .. resource .. ':' .. generation .. ':' .. name) or ''
    end
  end
  return {2, sealed, state[1], state[2], state[3], state[4], refusals, generation, answer}
end
"""
LOOK = Script(
    ADMIT
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
local state = redis.call('HMGET', KEYS[2], 'tenant', 'epoch', 'limit', 'sealed', 'bucket')
if not state[1] then return {1} end
if (redis.call('GET', 'epoch:' .. state[1]) or '') ~= state[2] then return {1} end
return admit(ARGV[1], state[1], state[5], tonumber(state[3]), state[4], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
"""
)
REMEMBER = Script(
    ADMIT
    + """
redis.call('SET', KEYS[1], '1', 'EX', ARGV[6])
redis.call('HSET', KEYS[2], 'tenant', ARGV[8], 'epoch', ARGV[9], 'limit', ARGV[10], 'sealed', ARGV[11],
  'bucket', ARGV[12])
redis.call('EXPIRE', KEYS[2], ARGV[7])
return admit(ARGV[1], ARGV[8], ARGV[12], tonumber(ARGV[10]), '', ARGV[2], ARGV[3], ARGV[4], ARGV[5])
"""
)


@dataclass(eq=False)
class RedisAccessCache:
    """ports.AccessCache; every method raises RedisDown within a tenth of a second when Redis does not answer."""

    wire: RedisWire
    cipher: Cipher = field(repr=False)

    def __post_init__(self) -> None:
        self._grant = lru_cache(maxsize=5000)(self._unsealed)

    async def look(self, key_id: str, proof: str, ask: Ask = ONLY_ACCESS) -> Look:
        try:
            found: Sequence[Any] = await self.wire.run(LOOK, names(key_id, proof), arguments(key_id, ask))
        except FAILURES as error:
            raise RedisDown(type(error).__name__) from error
        if found[0] != KNOWN:
            return Look(proven=found[0] == PROVEN)
        try:
            grant = self._grant(key_id, found[1])
        except (PinkSyncError, KeyError, ValueError):  # of another cache key, of another version, or forged
            return Look(proven=True)
        return admitted(grant, found)

    async def remember(self, key_id: str, proof: str, grant: Grant, epoch: str, ask: Ask = ONLY_ACCESS) -> Look:
        sealed = self.cipher.seal(orjson.dumps(grant), key_id, FIELD)
        values = (PROOF_SECONDS, STATE_SECONDS, grant.tenant, epoch, grant.limit_per_minute, sealed, grant.bucket)
        with translated():
            found: Sequence[Any] = await self.wire.run(
                REMEMBER, names(key_id, proof), (*arguments(key_id, ask), *values)
            )
        return admitted(grant, found)

    async def epoch(self, tenant: str) -> str:
        with translated():
            value: bytes | None = await self.wire.ask("GET", f"epoch:{tenant}")
        return value.decode() if value else ""

    async def forget(self, tenant: str) -> None:
        with translated():
            await self.wire.ask("SET", f"epoch:{tenant}", secrets.token_hex(8), "EX", EPOCH_SECONDS)

    async def ping(self) -> None:
        with translated():
            await self.wire.ask("PING")

    async def close(self) -> None:
        await self.wire.close()

    def _unsealed(self, key_id: str, sealed: bytes) -> Grant:
        """Remembered per sealed text: decrypting the same grant again tells nothing new."""
        return from_json(self.cipher.open(sealed.decode(), key_id, FIELD))


def names(key_id: str, proof: str) -> tuple[str, str]:
    return (f"proof:{proof}", f"state:{key_id}")


def arguments(key_id: str, ask: Ask) -> tuple[str | int, ...]:
    return (key_id, ask.route, ask.route_limit, ask.resource, ask.answer)


def admitted(grant: Grant, found: Sequence[Any]) -> Look:
    limit = LimitState(limit=found[2], remaining=found[3], reset=found[4], retry_after=found[5])
    return Look(
        proven=True,
        grant=grant,
        limit=limit,
        refusals=found[6],
        generation=found[7].decode(),
        answer=found[8] or None,
    )


def from_json(text: bytes) -> Grant:
    values = orjson.loads(text)
    return Grant(
        key_id=values["key_id"],
        partner_id=UUID(values["partner_id"]) if values["partner_id"] else None,
        partner_status=PartnerStatus(values["partner_status"]) if values["partner_status"] else None,
        scopes=tuple(values["scopes"]),
        limit_per_minute=values["limit_per_minute"],
        own_limit=values["own_limit"],
        expires_at=datetime.fromisoformat(values["expires_at"]) if values["expires_at"] else None,
    )
