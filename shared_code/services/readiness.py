"""Can the gateway serve? Each dependency is asked, briefly and not too often."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shared_code.model import Health
from shared_code.ports import Probe

PATIENCE = 2.0
FRESH_SECONDS = 2.0
ESSENTIAL = frozenset({"postgres"})
"""Without these the gateway cannot serve; without the others it does, in a degraded way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    dependencies: Mapping[str, Health]
    late_timers: Sequence[str] = ()

    @property
    def overall(self) -> Health:
        down = {name for name, health in self.dependencies.items() if health is not Health.OK}
        if down & ESSENTIAL:
            return Health.DOWN
        return Health.DEGRADED if down else Health.OK


@dataclass(eq=False, slots=True)
class ReadinessService:
    probes: Mapping[str, Probe]
    late_timers: Callable[[], Awaitable[Sequence[str]]]
    """Names of the timers that did not run on time."""
    _last: tuple[float, Readiness] | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def check(self) -> Readiness:
        """At most one round of questions every two seconds, however many ask: the route is open."""
        async with self._asking:
            if self._last is None or time.monotonic() - self._last[0] > FRESH_SECONDS:
                self._last = (time.monotonic(), await self._ask())
            return self._last[1]

    async def _ask(self) -> Readiness:
        late: list[str] = []

        async def timers() -> Health:
            late.extend(await self.late_timers())
            return Health.DEGRADED if late else Health.OK

        probes = {**self.probes, "timers": timers}
        found = await asyncio.gather(*(ask(probe) for probe in probes.values()))
        return Readiness(dependencies=dict(zip(probes, found, strict=True)), late_timers=late)


async def ask(probe: Probe) -> Health:
    try:
        return await asyncio.wait_for(probe(), PATIENCE)
    except Exception:  # whatever it is, the dependency did not answer
        return Health.DOWN
