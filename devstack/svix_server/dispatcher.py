"""Makes the attempts: at once, or when a retry is due; again after a restart.

Each endpoint has its own lane with a few attempts at a time, so a slow one holds up nobody else.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from devstack.svix_server import clock
from devstack.svix_server.delivery import Delivery, headers, load
from devstack.svix_server.outcome import Outcomes
from devstack.svix_server.task_queue import Task, TaskQueue
from devstack.svix_server.webhook_client import WebhookClient

AT_A_TIME = 32

_AFTER_OUR_OWN_FAILURE = 5.0

_log = logging.getLogger("svix.delivery")


@dataclass(slots=True)
class _Lane:
    waiting: deque[Task] = field(default_factory=deque)
    running: int = 0


class Dispatcher:
    def __init__(self, queue: TaskQueue, client: WebhookClient, outcomes: Outcomes) -> None:
        self._queue = queue
        self._client = client
        self._outcomes = outcomes
        self._lanes: dict[str, _Lane] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._planned: list[tuple[int, int, Task]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def start(self) -> None:
        """Takes up everything that was left, attempts in flight at a kill included."""
        self._queue.listen(self.add)
        for task in self._queue.all():
            self.add(task)

    def add(self, task: Task) -> None:
        if task.due > clock.now():
            heapq.heappush(self._planned, (task.due, task.id, task))
            self._set_timer()
        else:
            self._enter_lane(task)

    def advance(self, by: int) -> None:
        """Retries are due earlier by so many microseconds, as the caller has changed them on disk."""
        self._planned = [(due - by, number, task) for due, number, task in self._planned]
        self._set_timer()

    async def drain(self, seconds: float) -> None:
        """Starts nothing more and lets what runs finish; what does not is made again after a restart."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for running in self._running:
            running.cancel()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._planned or self._stopped:
            return
        wait = max(self._planned[0][0] - clock.now(), 0) / clock.SECOND
        self._timer = asyncio.get_running_loop().call_later(wait, self._release_due)

    def _release_due(self) -> None:
        now = clock.now()
        while self._planned and self._planned[0][0] <= now:
            self._enter_lane(heapq.heappop(self._planned)[2])
        self._set_timer()

    def _enter_lane(self, task: Task) -> None:
        lane = self._lanes.setdefault(task.endpoint_id, _Lane())
        lane.waiting.append(task)
        self._fill(task.endpoint_id, lane)

    def _fill(self, endpoint_id: str, lane: _Lane) -> None:
        while lane.waiting and lane.running < AT_A_TIME and not self._stopped:
            lane.running += 1
            running = asyncio.create_task(self._attempt(lane.waiting.popleft()))
            self._running.add(running)
            running.add_done_callback(self._leave_lane(endpoint_id, lane))

    def _leave_lane(self, endpoint_id: str, lane: _Lane) -> Callable[[asyncio.Task[None]], None]:
        def left(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            lane.running -= 1
            self._fill(endpoint_id, lane)
            if not lane.running and not lane.waiting:
                self._lanes.pop(endpoint_id, None)

        return left

    async def _attempt(self, task: Task) -> None:
        try:
            await self._deliver(task)
        except Exception:
            _log.exception("%s endpoint=%s could not be attempted", task.msg_id, task.endpoint_id)
            asyncio.get_running_loop().call_later(_AFTER_OUR_OWN_FAILURE, self._enter_lane, task)

    async def _deliver(self, task: Task) -> None:
        delivery = load(self._outcomes.store.db, task)
        if delivery is None or not delivery.is_due:
            self._outcomes.drop(task)
            return
        started = clock.now()
        response = await self._client.post(*self._request(delivery, started))
        self._outcomes.record(delivery, started, response)

    def _request(self, delivery: Delivery, at: int) -> tuple[str, dict[str, str], bytes]:
        whitelabel = self._outcomes.settings.whitelabel_headers
        return delivery.endpoint.url, headers(delivery, at, whitelabel=whitelabel), delivery.payload
