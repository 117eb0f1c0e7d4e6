"""The timers' ledger in memory. Several ledgers over one `Book` stand for several processes on one database."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared_code import errors
from shared_code.model import TimerResult, TimerRun, TimerState

KEPT = 200


def new_runs() -> defaultdict[str, deque[TimerRun]]:
    return defaultdict(lambda: deque(maxlen=KEPT))


@dataclass(slots=True, eq=False)
class Book:
    states: dict[str, TimerState] = field(default_factory=dict[str, TimerState])
    runs: defaultdict[str, deque[TimerRun]] = field(default_factory=new_runs)
    holders: dict[str, "MemoryTimerLedger"] = field(default_factory=dict[str, "MemoryTimerLedger"])
    down: bool = False


@dataclass(slots=True, eq=False)
class MemoryTimerLedger:
    book: Book = field(default_factory=Book)

    async def begin(self, name: str, now: datetime) -> bool:
        self._reach()
        if name in self.book.holders:
            return False
        self.book.holders[name] = self
        self._change(name, now, last_start=now)
        return True

    async def end(self, run: TimerRun) -> None:
        if self.book.holders.get(run.name) is self:
            del self.book.holders[run.name]
        self._reach()
        self._change(
            run.name,
            run.started_at,
            last_end=run.ended_at,
            last_result=run.result,
            last_rows=run.rows,
            last_error=run.error,
        )
        self._keep(run)

    async def skipped(self, run: TimerRun) -> None:
        self._reach()
        self._change(run.name, run.started_at, last_skipped_at=run.started_at)
        self._keep(replace(run, result=TimerResult.SKIPPED))

    async def states(self, names: Iterable[str], now: datetime) -> Mapping[str, TimerState]:
        self._reach()
        for name in names:
            self._change(name, now)
        states = self.book.states
        return {name: replace(states[name], running=name in self.book.holders) for name in names}

    async def recent(self, limit: int) -> Mapping[str, Sequence[TimerRun]]:
        self._reach()
        return {name: list(reversed(runs))[:limit] for name, runs in self.book.runs.items() if runs}

    async def close(self) -> None:
        """As when a process ends: its locks are free."""
        self.book.holders = {name: holder for name, holder in self.book.holders.items() if holder is not self}

    def _change(self, name: str, now: datetime, **changes: object) -> None:
        known = self.book.states.get(name) or TimerState(name=name, known_since=now)
        self.book.states[name] = replace(known, **changes)

    def _keep(self, run: TimerRun) -> None:
        if run.worth_keeping:
            self.book.runs[run.name].append(run)

    def _reach(self) -> None:
        if self.book.down:
            raise errors.StoreUnavailable(headers={"Retry-After": "5"})
