"""Timer triggers as the timer extension runs them (facts section 3 and section 9 item 11).

One run of a timer at a time; at start ONE run for everything missed, marked past due; a slot that passes
during a run is made up for right after it. A run fired by hand does not wait for the schedule's runs, nor
they for it: so it is in Azure, and a job that must not overlap needs its own lock.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from datetime import UTC, datetime, timedelta

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.functions_host import ncrontab
from devstack.functions_host.metadata import Function
from devstack.functions_host.protos import RpcException, RpcRetryOptions
from devstack.functions_host.timer_status import Status, StatusFiles
from devstack.functions_host.tracing import Trace, new_trace
from devstack.functions_host.worker import Attempt, Inputs, Outcome

Call = Callable[[str, Inputs, Trace, Attempt], Awaitable[Outcome]]
_SETTING = re.compile(r"%([^%]+)%")
_LONGEST_SLEEP = 60.0

logger = logging.getLogger("functions_host")


def schedule_of(function: Function, environment: Mapping[str, str]) -> ncrontab.Schedule:
    """The timer's schedule with every `%NAME%` taken from the environment. Raises BadSchedule."""
    text = str(function.trigger["schedule"])
    missing = [name for name in _SETTING.findall(text) if not environment.get(name)]
    if missing:
        raise ncrontab.BadSchedule(f"its schedule '{text}' needs the setting {missing[0]}, which is not set")
    return ncrontab.parse(_SETTING.sub(lambda name: environment[name[1]], text))


class Timers:
    """Every timer of the app. `broken` are those whose schedule cannot be used, with the reason."""

    def __init__(
        self, functions: Iterable[Function], environment: Mapping[str, str], call: Call, files: StatusFiles
    ) -> None:
        self.broken: dict[str, str] = {}
        self._timers: dict[str, _Timer] = {}
        self._loops: set[asyncio.Task[None]] = set()
        self._runs: set[asyncio.Task[None]] = set()
        for function in functions:
            try:
                schedule = schedule_of(function, environment)
            except ncrontab.BadSchedule as problem:
                self.broken[function.name] = str(problem)
            else:
                self._timers[function.name] = _Timer(function, schedule, call, files)

    def start(self) -> None:
        for timer in self._timers.values():
            self._begin(self._loops, self._follow(timer))

    def fire(self, name: str) -> None:
        """Starts a run now, beside the schedule; it is not recorded as one of the schedule's."""
        self._begin(self._runs, self._timers[name].run())

    async def stop(self, grace: float) -> None:
        """No new runs; those under way may end within `grace` seconds, then they are cancelled."""
        for loop in self._loops:
            loop.cancel()
        if self._runs:
            _, late = await asyncio.wait(self._runs, timeout=grace)
            for run in late:
                run.cancel()

    async def _follow(self, timer: "_Timer") -> None:
        run = timer.first_run(_now())
        while True:
            if run is not None:
                await asyncio.shield(self._begin(self._runs, run))
            if not await timer.wait():
                logger.error("timer '%s' has no next time: '%s' fits no day", timer.name, timer.schedule.text)
                return
            run = timer.scheduled_run(_now())

    @staticmethod
    def _begin(group: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A context of its own per run: what a function leaves in context variables ends with it."""
        task = asyncio.get_running_loop().create_task(work, context=Context())
        group.add(task)
        task.add_done_callback(group.discard)
        return task


class _Timer:
    def __init__(self, function: Function, schedule: ncrontab.Schedule, call: Call, files: StatusFiles) -> None:
        self.name = function.name
        self.schedule = schedule
        self._argument = str(function.trigger["name"])
        self._run_on_startup = bool(function.trigger.get("runOnStartup"))
        self._retry = function.retry
        self._call = call
        self._files = files
        # The host turns the monitor off by itself for schedules below a minute.
        wanted = function.trigger.get("useMonitor") is not False
        self._monitored = wanted and not schedule.fires_more_often_than_once_a_minute()
        self._status: Status | None = None

    def first_run(self, now: datetime) -> Coroutine[None, None, None] | None:
        """What must run at start: the one run for all that was missed, or the one asked for by run_on_startup."""
        known = self._files.read(self.name) if self._monitored else None
        if known is not None and known.fits(self.schedule):
            self._status = known
            if now > known.next:
                return self.run(past_due=True, recorded_as=now)
        else:
            self._record(self._from(now))
        return self.run(recorded_as=now) if self._run_on_startup else None

    def scheduled_run(self, now: datetime) -> Coroutine[None, None, None]:
        """A clock that is a little early must not make the same slot come twice."""
        slot = self._status.next if self._status else now
        return self.run(recorded_as=max(now, slot))

    async def wait(self) -> bool:
        """Until the next slot; False when there is none."""
        while self._status is not None:
            left = (self._status.next - _now()).total_seconds()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, _LONGEST_SLEEP))
        return False

    async def run(self, *, past_due: bool = False, recorded_as: datetime | None = None) -> None:
        try:
            await self._try_and_retry([(self._argument, Datum(self._payload(past_due), "json"))])
        except Exception:
            logger.exception("timer '%s' could not be run", self.name)
        if recorded_as is not None:
            self._record(self._from(recorded_as, last=recorded_as))

    async def _try_and_retry(self, inputs: Inputs) -> None:
        limit = self._retry.max_retry_count if self._retry else 0
        attempt = Attempt(0, limit)
        while True:
            outcome = await self._call(self.name, inputs, new_trace(), attempt)
            if outcome.ok or self._retry is None or 0 <= limit <= attempt.number:
                return
            await asyncio.sleep(_pause(self._retry, attempt.number))
            error = RpcException(message=outcome.error, stack_trace=outcome.traceback)
            attempt = Attempt(attempt.number + 1, limit, error)

    def _payload(self, past_due: bool) -> str:
        status = self._status.as_json() if self._status and self._monitored else None
        return json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due})

    def _from(self, moment: datetime, **times: datetime) -> Status | None:
        following = self.schedule.after(moment)
        return Status(next=following, updated=moment, **times) if following else None

    def _record(self, status: Status | None) -> None:
        self._status = status
        if status and self._monitored:
            self._files.write(self.name, status)


def _pause(retry: RpcRetryOptions, retries: int) -> float:
    """Seconds before the next try: fixed, or doubled each time between the two bounds."""
    if retry.delay_interval is not None:
        return retry.delay_interval.total_seconds()
    shortest = retry.minimum_interval or timedelta()
    longest = retry.maximum_interval or timedelta.max
    return min(shortest.total_seconds() * 2 ** min(retries, 62), longest.total_seconds())


def _now() -> datetime:
    return datetime.now(UTC)
