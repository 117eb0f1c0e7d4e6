"""The request queue of host.json: so many at work, so many more waiting, 429 for the rest.

`maxOutstandingRequests` counts the waiting and the working ones (host's HttpThrottleMiddleware over a queue
with a bounded capacity; facts section 4).
"""

import asyncio
import math
from collections import deque


class Throttle:
    def __init__(self, max_concurrent: int, max_outstanding: int) -> None:
        """-1 is no limit."""
        self._most_outstanding = max_outstanding if max_outstanding > 0 else math.inf
        self._places = min(max_concurrent if max_concurrent > 0 else math.inf, self._most_outstanding)
        self._working = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def enter_at_once(self) -> bool:
        """True when a place was free (then `leave` must follow); False says nothing yet: `await enter()`."""
        if self._working >= self._places:
            return False
        self._working += 1
        return True

    async def enter(self) -> bool:
        """True when the call may run (then `leave` must follow), False when it is one too many."""
        if self.enter_at_once():
            return True
        if self._working + len(self._waiting) >= self._most_outstanding:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        return True

    def leave(self) -> None:
        """Hands the place to the first one waiting."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._working -= 1

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.leave()
        elif turn in self._waiting:
            self._waiting.remove(turn)
