"""Timers run here, whoever wakes them: one run at a time, each noted in the ledger, and late ones known.

The Functions host runs each timer on one instance only; the ledger's lock also covers runs by hand, an overlap
when the host loses its lease, and a second deployment on the same database.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared_code import errors
from shared_code.model import Caller, Severity, TimerReport, TimerResult, TimerRun, TimerState, ncrontab
from shared_code.ports import Clock, Store, TimerLedger
from shared_code.services.audit import Fact, note

RECENT = 5

logger = logging.getLogger("pinksync.timers")

type Work = Callable[[], Awaitable[int]]
"""Does what is owed and answers how many rows it touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A timer as it is registered: its name, what it is for, and the setting that holds its schedule."""

    name: str
    summary: str
    setting: str
    everywhere: bool = False
    """What it works is held by leases of its own: on schedule every instance works, even beside one that hangs."""


TIMERS: dict[str, Timer] = {}
"""Every timer of the app, by name; functions/timer.py registers them."""


@dataclass(frozen=True, slots=True)
class TimerService:
    ledger: TimerLedger
    store: Store
    now: Clock
    schedules: Mapping[str, str]
    """Setting → NCRONTAB, as the Functions host reads them from the app's settings."""
    timers: Mapping[str, Timer] = field(default_factory=lambda: TIMERS)

    async def run_on_schedule(self, name: str, work: Work) -> None:
        """Never raises for what the work or the database did: the next tick tries again."""
        try:
            await self._run(name, work, by_hand=False)
        except errors.PinkSyncError as error:
            logger.warning("%s: its run could not be noted: %s", name, error.code)

    async def run_by_hand(self, caller: Caller, name: str, work: Work) -> TimerRun:
        """Raises StoreUnavailable when the ledger cannot be reached."""
        run = await self._run(name, work, by_hand=True)
        severity = Severity.WARNING if run.result is TimerResult.FAILED else Severity.INFO
        async with self.store.transaction() as transaction:
            fact = Fact(
                event_type="timer.run",
                message=f"The timer {name} was run by hand: {run.result}.",
                target=name,
                severity=severity,
            )
            await note(transaction, caller, fact, self.now())
        return run

    async def list(self) -> Sequence[TimerReport]:
        now = self.now()
        states = await self.ledger.states(self.timers, now)
        recent = await self.ledger.recent(RECENT)
        return [self._report(timer, states[timer.name], recent.get(timer.name, ()), now) for timer in self._sorted()]

    async def lags(self) -> Mapping[str, float]:
        """Seconds by which each timer is late; 0.0 for one that is on time. For readiness and metrics."""
        now = self.now()
        states = await self.ledger.states(self.timers, now)
        return {timer.name: self._lag(timer, states[timer.name], now).total_seconds() for timer in self._sorted()}

    async def late(self) -> Sequence[str]:
        return [name for name, seconds in (await self.lags()).items() if seconds > 0]

    def _sorted(self) -> Sequence[Timer]:
        return [self.timers[name] for name in sorted(self.timers)]

    def _report(self, timer: Timer, state: TimerState, recent: Sequence[TimerRun], now: datetime) -> TimerReport:
        schedule = self._schedule(timer)
        return TimerReport(
            name=timer.name,
            summary=timer.summary,
            schedule=self.schedules.get(timer.setting, ""),
            next_run=schedule.after(now) if schedule else None,
            late_seconds=state.lag(schedule, now).total_seconds(),
            state=state,
            recent=recent,
        )

    def _lag(self, timer: Timer, state: TimerState, now: datetime) -> timedelta:
        return state.lag(self._schedule(timer), now)

    def _schedule(self, timer: Timer) -> ncrontab.Schedule | None:
        """None for one that the host cannot run either: it counts as late."""
        try:
            return ncrontab.parse(self.schedules.get(timer.setting, ""))
        except ncrontab.BadSchedule:
            return None

    async def _run(self, name: str, work: Work, *, by_hand: bool) -> TimerRun:
        started = self.now()
        begun = await self.ledger.begin(name, started)
        if not begun and self.timers[name].everywhere and not by_hand:
            rows = await work()
            return self._ended(name, started, TimerResult.OK, rows=rows, by_hand=by_hand)
        if not begun:
            logger.info("%s: skipped, another run of it is under way", name)
            run = self._ended(name, started, TimerResult.SKIPPED, by_hand=by_hand)
            await self.ledger.skipped(run)
            return run
        try:
            rows = await work()
        except Exception as error:
            logger.exception("%s: failed: %s", name, type(error).__name__)
            run = self._ended(name, started, TimerResult.FAILED, error=type(error).__name__, by_hand=by_hand)
        except BaseException:  # the host stops it: note that and obey
            await self.ledger.end(self._ended(name, started, TimerResult.FAILED, error="Cancelled", by_hand=by_hand))
            raise
        else:
            run = self._ended(name, started, TimerResult.OK, rows=rows, by_hand=by_hand)
            if rows:
                logger.info("%s: %d rows in %.2f s", name, rows, (run.ended_at - started).total_seconds())
        await self.ledger.end(run)
        return run

    def _ended(
        self,
        name: str,
        started: datetime,
        result: TimerResult,
        *,
        rows: int = 0,
        error: str | None = None,
        by_hand: bool,
    ) -> TimerRun:
        return TimerRun(
            name=name,
            result=result,
            rows=rows,
            error=error,
            by_hand=by_hand,
            started_at=started,
            ended_at=self.now(),
        )
