"""What operators watch: the counts of all processes together, and what the store knows.

Each process shares what it has counted about once a second while it is at work; a process that is killed takes
the last second's counts with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from shared_code import telemetry
from shared_code.ports import Circuit, Clock, Counts, Figures, SharedCounts, Store
from shared_code.telemetry import Name

SHARE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    figures: Figures
    ever: Counts
    today: Counts
    whole: bool
    """False: the others' counts cannot be read now, and these are this process's alone."""

    @property
    def requests_today(self) -> int:
        return round(requests(self.today))

    @property
    def average_seconds_today(self) -> float | None:
        count = requests(self.today)
        return total(self.today, telemetry.REQUESTS.name, last="sum") / count if count else None

    @property
    def webhook_success_rate(self) -> float | None:
        """Of the deliveries that came to an end today: how many of a hundred arrived. None before the first."""
        delivered = self.today.get((telemetry.DELIVERIES.name, "delivered"), 0)
        ended = delivered + self.today.get((telemetry.DELIVERIES.name, "failed"), 0)
        return 100 * delivered / ended if ended else None


@dataclass(eq=False, slots=True)
class MetricsService:
    store: Store
    counts: SharedCounts
    circuit: Circuit
    lags: Callable[[], Awaitable[Mapping[str, float]]]
    """Seconds by which each timer is late."""
    now: Clock
    _shared: dict[Name, float] = field(default_factory=dict[Name, float])
    _sharing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _due: asyncio.TimerHandle | None = None
    _task: asyncio.Task[None] | None = None

    def counted(self) -> None:
        """Something was counted: it is shared within a second, with all that is counted until then."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(SHARE_SECONDS, self._begin)

    def _begin(self) -> None:
        self._due = None
        self._task = asyncio.ensure_future(self.share())

    async def share(self) -> None:
        """What was counted since the last time goes to everyone's counts; what does not get there is kept."""
        async with self._sharing:
            counted = dict(telemetry.tally())
            deltas = {name: value - self._shared.get(name, 0) for name, value in counted.items()}
            deltas = {name: delta for name, delta in deltas.items() if delta}
            if deltas and await self.counts.add(deltas, self.now().date()):
                self._shared = counted

    async def measure(self) -> Figures:
        """How things stand now, into the gauges of this process."""
        async with self.store.reading() as reading:
            figures = await reading.figures.read()
        telemetry.OUTBOX_AGE.set({(): figures.outbox_age_seconds})
        telemetry.TIMER_LAG.set({(name,): seconds for name, seconds in (await self.lags()).items()})
        telemetry.CIRCUITS_OPEN.set({(name,): 1 for name in await self.circuit.tripped()})
        return figures

    async def read(self) -> Metrics:
        await self.share()
        figures = await self.measure()
        ever, today = await self.counts.since_ever(), await self.counts.of_day(self.now().date())
        if ever is None or today is None:
            own = dict(telemetry.tally())
            return Metrics(figures=figures, ever=own, today=own, whole=False)
        return Metrics(figures=figures, ever=ever, today=today, whole=True)

    async def close(self) -> None:
        if self._due:
            self._due.cancel()
        if self._task:
            await self._task


def total(counts: Counts, name: str, *, last: str | None = None) -> float:
    """Over all labels; of a duration, `last` picks one of its numbers."""
    return sum(value for key, value in counts.items() if key[0] == name and (last is None or key[-1] == last))


def requests(counts: Counts) -> float:
    """Every request stands in one bucket."""
    name = telemetry.REQUESTS.name
    return sum(value for key, value in counts.items() if key[0] == name and key[-1] != "sum")
