"""Timers: what is known of each, and when one is late."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared_code.model import ncrontab

GRACE = timedelta(seconds=60)
LONGEST_RUN = timedelta(minutes=10)
"""As `functionTimeout` in host.json: a run that is older hangs, or its end was not written."""


class TimerResult(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Another run of the same timer was under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerRun:
    name: str
    result: TimerResult
    rows: int = 0
    error: str | None = None
    """The kind of failure, never its text: that can hold a value."""
    by_hand: bool = False
    started_at: datetime
    ended_at: datetime

    @property
    def worth_keeping(self) -> bool:
        """A timer that fires every second and finds nothing to do leaves no row each time."""
        return self.by_hand or self.rows > 0 or self.result is TimerResult.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerState:
    name: str
    known_since: datetime
    running: bool = False
    last_start: datetime | None = None
    last_end: datetime | None = None
    last_result: TimerResult | None = None
    last_rows: int = 0
    last_error: str | None = None
    last_skipped_at: datetime | None = None

    def lag(self, schedule: ncrontab.Schedule | None, now: datetime) -> timedelta:
        """How long it is late; zero while it is not. It is once two runs and a grace were missed in a row."""
        if self.running:
            return max(now - (self.last_start or now) - LONGEST_RUN, timedelta())
        missed = self._second_slot(schedule)
        return max(now - missed - GRACE, timedelta()) if missed else timedelta()

    def _second_slot(self, schedule: ncrontab.Schedule | None) -> datetime | None:
        since = max(moment for moment in (self.known_since, self.last_start, self.last_end) if moment)
        first = schedule.after(since) if schedule else since
        return schedule.after(first) if schedule and first else first


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerReport:
    """A timer as operators see it."""

    name: str
    summary: str
    schedule: str
    next_run: datetime | None
    late_seconds: float
    state: TimerState
    recent: Sequence[TimerRun]
