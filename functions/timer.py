"""`timer()`: the one way to make a timer. A new one is three lines in functions/timers.py:

    @timer(bp, "TOKEN_SCHEDULE")
    async def token_refresh(gateway: Gateway) -> int:
        \"\"\"Renews access tokens that end soon.\"\"\"
        return await gateway.connections.refresh()

and the schedule's setting in local.settings.sample.json and devstack/settings.py. The function answers how many rows
it touched; whatever it raises is a failed run, and the schedule goes on. Every run is noted in the ledger (what,
when, how it went), one runs at a time, `GET /api/timers` lists it, `POST /api/timers/{name}/run` runs it now, and
one that has not started for two periods and a minute shows in `/api/ready`.
"""

from collections.abc import Awaitable, Callable

import azure.functions as func

from shared_code import gateway
from shared_code.gateway import Gateway
from shared_code.services.timers import TIMERS, Timer

__all__ = ["WORK", "Gateway", "timer"]

type Job = Callable[[Gateway], Awaitable[int]]

WORK: dict[str, Job] = {}
"""Every timer of the app, by name."""


def timer(blueprint: func.Blueprint, setting: str, *, everywhere: bool = False) -> Callable[[Job], Job]:
    """Registers the function below it under its own name; `setting` is the app setting that holds its schedule.

    With `everywhere` every instance works on schedule, not one alone: for work that is held by leases of its own.
    """

    def register(job: Job) -> Job:
        name = job.__name__
        WORK[name] = job
        TIMERS[name] = Timer(
            name=name, summary=" ".join((job.__doc__ or name).split()), setting=setting, everywhere=everywhere
        )

        async def function(timer: func.TimerRequest) -> None:
            house = await gateway.current()
            await house.timers.run_on_schedule(name, lambda: job(house))

        function.__name__ = function.__qualname__ = name
        function.__doc__ = job.__doc__
        blueprint.timer_trigger(schedule=f"%{setting}%", arg_name="timer")(function)
        return job

    return register
