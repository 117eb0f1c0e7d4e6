"""How fast sending goes: while many publish, what is owed is safe and can wait a little; and after a failure."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

LONGEST_WAIT = 60.0
LULL = 0.5
"""Seconds without a crowd until there is none."""
SHARE, LONGEST_REST = 9, 5.0
"""In a crowd sending rests so many times as long as its last batch took, and so many seconds at most."""


def calm() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(eq=False, slots=True)
class Pace:
    """In a crowd sending takes a tenth of the time; it never stops. A rest ends as soon as the crowd does."""

    _calm: asyncio.Event = field(default_factory=calm)
    _lull: asyncio.TimerHandle | None = None

    def crowd(self) -> None:
        """Many are waiting to publish."""
        self._calm.clear()
        if self._lull:
            self._lull.cancel()
        self._lull = asyncio.get_running_loop().call_later(LULL, self._calm.set)

    async def rest(self, worked: float) -> None:
        """After so many seconds of work."""
        if not self._calm.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._calm.wait(), min(worked * SHARE, LONGEST_REST))


def pause(attempts: int) -> timedelta:
    """Full jitter, doubling from a second to a minute: an outage of hours costs little and ends quickly."""
    longest = min(LONGEST_WAIT, 2.0 ** min(attempts - 1, 10))
    return timedelta(seconds=random.uniform(longest / 2, longest))  # noqa: S311 - jitter, not a secret
