"""Circuit breakers shared by all processes, in Redis; each process has its own while Redis is down.

Half of at least five calls failing within 30 seconds opens a circuit for 15; then one probe a second goes
through, and the first that succeeds closes it (facts/security.md 2.13).
"""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from shared_code.adapters.redis_client import Outage, translated
from shared_code.adapters.redis_wire import RedisWire, Script

WINDOW_SECONDS = 30
OPEN_SECONDS = 15
PROBE_SECONDS = 1
TRIPPED = "circuit:tripped"
"""The names of those that opened and have not closed since."""
FEWEST = 5

ASK = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 1 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
return redis.call('SET', KEYS[3], '1', 'NX', 'EX', ARGV[1]) and 1 or 0
""")
REPORT = Script("""
if ARGV[1] == '1' then
  if redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) > 0 then
    redis.call('DEL', KEYS[4])
    redis.call('SREM', KEYS[5], ARGV[5])
  end
  if redis.call('EXISTS', KEYS[4]) == 1 then redis.call('HINCRBY', KEYS[4], 'calls', 1) end
  return 0
end
local calls = redis.call('HINCRBY', KEYS[4], 'calls', 1)
local failed = redis.call('HINCRBY', KEYS[4], 'failed', 1)
if calls == 1 then redis.call('EXPIRE', KEYS[4], ARGV[2]) end
if redis.call('EXISTS', KEYS[1]) == 1 or (failed >= tonumber(ARGV[3]) and failed * 2 >= calls) then
  redis.call('SET', KEYS[1], '1', 'EX', 3600)
  redis.call('SET', KEYS[2], '1', 'EX', ARGV[4])
  redis.call('SADD', KEYS[5], ARGV[5])
  redis.call('EXPIRE', KEYS[5], 3600)
end
return 1
""")


@dataclass(slots=True)
class Local:
    """One circuit as this process alone sees it."""

    calls: int = 0
    failed: int = 0
    since: float = 0.0
    open_until: float = 0.0
    probe_at: float = 0.0

    def closed(self, now: float) -> bool:
        if not self.open_until:
            return True
        if now < self.open_until or now < self.probe_at:
            return False
        self.probe_at = now + PROBE_SECONDS
        return True

    def report(self, ok: bool, now: float) -> None:
        if ok:
            self.open_until = self.probe_at = 0.0
            self.calls, self.failed = (self.calls + 1, self.failed) if self.failed else (0, 0)
            return
        if now - self.since > WINDOW_SECONDS:
            self.calls, self.failed, self.since = 0, 0, now
        self.calls, self.failed = self.calls + 1, self.failed + 1
        if self.open_until or (self.failed >= FEWEST and self.failed * 2 >= self.calls):
            self.open_until = now + OPEN_SECONDS


@dataclass(eq=False)
class RedisCircuit:
    wire: RedisWire
    outage: Outage
    _local: dict[str, Local] = field(default_factory=dict[str, Local])

    async def closed(self, name: str) -> bool:
        async def shared() -> bool:
            with translated():
                return bool(await self.wire.run(ASK, keys(name)[:3], (PROBE_SECONDS,)))

        async def local() -> bool:
            return self._circuit(name).closed(time.monotonic())

        return await self.outage.either(shared, local)

    async def report(self, name: str, *, ok: bool) -> None:
        async def shared() -> None:
            with translated():
                await self.wire.run(
                    REPORT, (*keys(name), TRIPPED), (int(ok), WINDOW_SECONDS, FEWEST, OPEN_SECONDS, name)
                )

        async def local() -> None:
            self._circuit(name).report(ok, time.monotonic())

        await self.outage.either(shared, local)

    async def tripped(self) -> Collection[str]:
        async def shared() -> Collection[str]:
            with translated():
                return {name.decode() for name in await self.wire.ask("SMEMBERS", TRIPPED)}

        async def local() -> Collection[str]:
            return {name for name, known in self._local.items() if known.open_until}

        return await self.outage.either(shared, local)

    def _circuit(self, name: str) -> Local:
        return self._local.setdefault(name, Local())


def keys(name: str) -> tuple[str, str, str, str]:
    """tripped (until a success), resting (nobody goes), probing (one goes), and the window's counts."""
    return (f"circuit:{name}:tripped", f"circuit:{name}:resting", f"circuit:{name}:probing", f"circuit:{name}:counts")
