"""The timers as operators see them: what each did last, what comes next, and a run by hand."""

import azure.functions as func

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import AnswerBody, ListAnswer, Moment, PageQuery
from functions.timer import WORK
from shared_code import errors
from shared_code.model import TimerReport, TimerResult

bp = func.Blueprint()

TAG = "Sync, audit, operations"


class TimerRunAnswer(AnswerBody):
    name: str
    result: TimerResult
    rows: int
    error: str | None
    started_at: Moment
    ended_at: Moment


class TimerAnswer(AnswerBody):
    name: str
    description: str
    schedule: str
    running: bool
    late_seconds: float
    last_start: Moment | None
    last_end: Moment | None
    result: TimerResult | None
    rows: int
    error: str | None
    last_skipped: Moment | None
    next: Moment | None
    recent: list[TimerRunAnswer]


class TimersAnswer(ListAnswer):
    timers: list[TimerAnswer]


@endpoint(bp, "GET", "api/timers", access=Access.ADMIN, tag=TAG, query=PageQuery, answer=TimersAnswer)
async def timers_list(call: Call[Nothing, PageQuery]) -> Reply:
    """Each timer: its schedule, its last start, end, result and rows touched, and when it comes next.

    `recent` has its newest runs that did something, failed, or were asked for by hand.
    """
    found = await call.gateway.timers.list()
    return Reply(model=TimersAnswer.cut("timers", found, call.query.page(), shown))


@endpoint(bp, "POST", "api/timers/{name}/run", access=Access.ADMIN, tag=TAG, answer=TimerRunAnswer)
async def timers_run(call: Call) -> Reply:
    """Runs it now and waits for its end: `ok`, `failed`, or `skipped` while another run of it is under way."""
    name, gateway = call.path["name"], call.gateway
    job = WORK.get(name)
    if job is None:
        raise errors.NotFound()
    run = await gateway.timers.run_by_hand(call.caller, name, lambda: job(gateway))
    return Reply(model=TimerRunAnswer.of(run))


def shown(report: TimerReport) -> TimerAnswer:
    state = report.state
    return TimerAnswer(
        name=report.name,
        description=report.summary,
        schedule=report.schedule,
        running=state.running,
        late_seconds=round(report.late_seconds, 3),
        last_start=state.last_start,
        last_end=state.last_end,
        result=state.last_result,
        rows=state.last_rows,
        error=state.last_error,
        last_skipped=state.last_skipped_at,
        next=report.next_run,
        recent=[TimerRunAnswer.of(run) for run in report.recent],
    )
