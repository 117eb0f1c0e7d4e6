"""ports.TimerLedger on both adapters, each ledger a process of its own; and the service that runs timers over it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg
import pytest

from shared_code import errors
from shared_code.adapters.memory_store import MemoryStore
from shared_code.adapters.memory_timers import Book, MemoryTimerLedger
from shared_code.adapters.postgres_timers import KEPT, PostgresTimerLedger
from shared_code.model import Page, TimerResult, TimerRun, TimerState
from shared_code.ports import AuditFilter, TimerLedger
from shared_code.services.audit import system_caller
from shared_code.services.timers import Timer, TimerService
from tests.contracts.samples import MINUTE, NOW, SECOND

OK, FAILED, SKIPPED = TimerResult.OK, TimerResult.FAILED, TimerResult.SKIPPED


@dataclass(slots=True, eq=False)
class Processes:
    """Ledgers over one database, each with its own connection; and what a kill does to one."""

    make: Callable[[], TimerLedger]
    cut: Callable[[TimerLedger], Awaitable[None]]
    opened: list[TimerLedger] = field(default_factory=list[TimerLedger])

    def new(self) -> TimerLedger:
        self.opened.append(self.make())
        return self.opened[-1]


@pytest.fixture(params=["memory", "postgres"])
async def processes(request: pytest.FixtureRequest) -> AsyncIterator[Processes]:
    if request.param == "memory":
        book = Book()
        found = Processes(lambda: MemoryTimerLedger(book), lambda ledger: ledger.close())
    else:
        url = request.getfixturevalue("database_url")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DELETE FROM timers; DELETE FROM timer_runs")

        async def cut(ledger: TimerLedger) -> None:
            """The socket ends without a farewell, as when the process is killed."""
            assert isinstance(ledger, PostgresTimerLedger)
            assert ledger._connection
            ledger._connection.pgconn.finish()

        found = Processes(lambda: PostgresTimerLedger(url), cut)
    yield found
    for ledger in found.opened:
        await ledger.close()


def run(name: str = "relay", **changes: object) -> TimerRun:
    made = TimerRun(name=name, result=OK, rows=3, started_at=NOW, ended_at=NOW + SECOND)
    return replace(made, **changes)


async def state(ledger: TimerLedger, name: str = "relay") -> TimerState:
    return (await ledger.states([name], NOW))[name]


async def test_a_timer_is_known_from_the_first_time_it_is_asked_for(processes: Processes):
    ledger = processes.new()
    assert await ledger.states(["relay"], NOW) == {"relay": TimerState(name="relay", known_since=NOW)}
    assert await ledger.states(["relay"], NOW + MINUTE) == {"relay": TimerState(name="relay", known_since=NOW)}


async def test_a_run_is_noted_from_its_start_to_its_end(processes: Processes):
    ledger, other = processes.new(), processes.new()
    assert await ledger.begin("relay", NOW)
    assert await state(other) == TimerState(name="relay", known_since=NOW, running=True, last_start=NOW)
    await ledger.end(run())
    assert await state(other) == TimerState(
        name="relay", known_since=NOW, last_start=NOW, last_end=NOW + SECOND, last_result=OK, last_rows=3
    )


async def test_one_run_at_a_time_in_all_processes(processes: Processes):
    ledgers = [processes.new() for _ in range(4)]
    begun = await asyncio.gather(*(ledger.begin("relay", NOW) for ledger in ledgers for _ in range(3)))
    assert sum(begun) == 1
    assert await ledgers[0].begin("another", NOW)
    await ledgers[begun.index(True) // 3].end(run())
    assert sum(await asyncio.gather(*(ledger.begin("relay", NOW) for ledger in ledgers))) == 1


async def test_the_lock_of_a_process_that_is_killed_is_free(processes: Processes):
    killed, other = processes.new(), processes.new()
    assert await killed.begin("relay", NOW)
    assert not await other.begin("relay", NOW)
    await processes.cut(killed)
    async with asyncio.timeout(5):
        while not await other.begin("relay", NOW):
            await asyncio.sleep(0.01)


async def test_a_ledger_goes_on_after_its_connection_broke(processes: Processes):
    ledger = processes.new()
    assert await ledger.begin("relay", NOW)
    await processes.cut(ledger)
    await ledger.end(run())
    assert (await state(ledger)).last_result is OK
    assert await ledger.begin("relay", NOW)


async def test_a_run_that_is_skipped_changes_nothing_of_the_one_under_way(processes: Processes):
    ledger = processes.new()
    await ledger.begin("relay", NOW)
    await ledger.skipped(run(result=SKIPPED, rows=0, started_at=NOW + SECOND))
    found = await state(ledger)
    assert (found.running, found.last_start, found.last_skipped_at) == (True, NOW, NOW + SECOND)
    assert (found.last_end, found.last_result) == (None, None)


async def test_only_runs_worth_keeping_leave_a_row(processes: Processes):
    ledger = processes.new()
    idle, busy = run(rows=0), run(rows=1)
    failed, by_hand = run(rows=0, result=FAILED, error="OSError"), run(rows=0, by_hand=True)
    for each in (idle, busy, idle, failed, by_hand, idle):
        assert await ledger.begin("relay", NOW)
        await ledger.end(each)
    assert await ledger.recent(10) == {"relay": [by_hand, failed, busy]}
    assert await ledger.recent(1) == {"relay": [by_hand]}


async def test_the_kept_runs_of_a_timer_are_bounded(processes: Processes):
    ledger = processes.new()
    for number in range(1, KEPT + 21):
        await ledger.begin("relay", NOW)
        await ledger.end(run(rows=number))
    await ledger.begin("another", NOW)
    await ledger.end(run("another"))
    kept = await ledger.recent(KEPT + 50)
    assert [each.rows for each in kept["relay"]] == list(range(KEPT + 20, 20, -1))
    assert len(kept["another"]) == 1


# ── The service ──────────────────────────────────────────────────────────────────────────────────


RELAY = Timer(name="relay", summary="Relays.", setting="RELAY_SCHEDULE")


def service(ledger: TimerLedger, store: MemoryStore | None = None, **schedules: str) -> TimerService:
    return TimerService(
        ledger, store or MemoryStore(), lambda: NOW, schedules or {"RELAY_SCHEDULE": "*/10 * * * * *"}, {"relay": RELAY}
    )


async def three() -> int:
    return 3


async def test_twice_at_once_is_one_ok_and_one_skipped(processes: Processes):
    one, two = service(processes.new()), service(processes.new())
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        begun.set()
        await may_end.wait()
        return 1

    first = asyncio.create_task(one.run_by_hand(system_caller("test"), "relay", slow))
    await begun.wait()
    second = await two.run_by_hand(system_caller("test"), "relay", three)
    may_end.set()
    assert ((await first).result, (await first).rows, second.result, second.rows) == (OK, 1, SKIPPED, 0)


async def test_a_failure_is_a_result_and_the_next_run_goes(processes: Processes):
    timers = service(processes.new())

    async def fails() -> int:
        raise OSError("pw-secret in a text")

    await timers.run_on_schedule("relay", fails)
    (report,) = await timers.list()
    assert (report.state.last_result, report.state.last_error, report.state.running) == (FAILED, "OSError", False)
    await timers.run_on_schedule("relay", three)
    (report,) = await timers.list()
    assert (report.state.last_result, report.state.last_error, report.state.last_rows) == (OK, None, 3)
    assert [each.result for each in report.recent] == [OK, FAILED]


async def test_a_run_that_is_stopped_frees_its_lock(processes: Processes):
    timers = service(processes.new())
    begun = asyncio.Event()

    async def endless() -> int:
        begun.set()
        return await asyncio.Event().wait()

    stopped = asyncio.create_task(timers.run_on_schedule("relay", endless))
    await begun.wait()
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    (report,) = await timers.list()
    assert (report.state.running, report.state.last_error) == (False, "Cancelled")


async def test_a_run_by_hand_is_in_the_audit_trail():
    store = MemoryStore()
    await service(MemoryTimerLedger(), store).run_by_hand(system_caller("test"), "relay", three)
    async with store.reading() as reading:
        (entry,) = (await reading.audit.list(AuditFilter(), Page())).items
    assert (entry.event_type, entry.target) == ("timer.run", "relay")


async def test_with_the_database_down_a_scheduled_run_fails_quietly_and_one_by_hand_does_not(
    caplog: pytest.LogCaptureFixture,
):
    timers = service(MemoryTimerLedger(Book(down=True)))
    await timers.run_on_schedule("relay", three)
    assert "relay: its run could not be noted: store_unavailable" in caplog.text
    with pytest.raises(errors.StoreUnavailable):
        await timers.run_by_hand(system_caller("test"), "relay", three)


async def test_the_list_says_when_it_comes_next():
    (report,) = await service(MemoryTimerLedger(), RELAY_SCHEDULE="0 30 3 * * *").list()
    assert report.next_run == NOW.replace(day=21, hour=3, minute=30, second=0, microsecond=0)
    assert (report.schedule, report.late_seconds) == ("0 30 3 * * *", 0)


@pytest.mark.parametrize("schedules", [{"RELAY_SCHEDULE": "every day"}, {"OTHER_SCHEDULE": "* * * * * *"}])
async def test_a_timer_that_can_never_come_is_late(schedules: dict[str, str]):
    ledger = MemoryTimerLedger()
    await ledger.states(["relay"], NOW - timedelta(hours=1))
    (report,) = await service(ledger, None, **schedules).list()
    assert (report.next_run, report.late_seconds) == (None, 59 * 60)
    assert await service(ledger, None, **schedules).late() == ["relay"]
