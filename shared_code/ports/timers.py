"""The timers' ledger: one run of each timer at a time, and what became of it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from shared_code.model import TimerRun, TimerState


class TimerLedger(Protocol):
    """Raises StoreUnavailable when the database cannot be reached."""

    async def begin(self, name: str, now: datetime) -> bool:
        """Locks the timer and notes the start. False, and nothing changes, while a run is under way anywhere.

        The lock ends with `end`, or with this process, however it dies.
        """
        ...

    async def end(self, run: TimerRun) -> None:
        """Notes how it went and frees the lock; a row of its own only for a run that is worth keeping."""
        ...

    async def skipped(self, run: TimerRun) -> None: ...
    async def states(self, names: Iterable[str], now: datetime) -> Mapping[str, TimerState]:
        """One for each name; a timer not heard of before is known from now on."""
        ...

    async def recent(self, limit: int) -> Mapping[str, Sequence[TimerRun]]:
        """Of each timer that has any, the newest runs that were kept, newest first."""
        ...

    async def close(self) -> None: ...
