"""The rules of the Functions host that need no process: routes, lint, schedules, timers, the queue, answers."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from azure_functions_runtime.bindings.datumdef import Datum
from hypothesis import given
from hypothesis import strategies as st

from devstack.functions_host.lint import lint, refusals
from devstack.functions_host.metadata import Function
from devstack.functions_host.paths import decoded, encoded
from devstack.functions_host.protos import RpcFunctionMetadata, RpcRetryOptions
from devstack.functions_host.replies import BadReply, Replies
from devstack.functions_host.requests import read_headers, read_query
from devstack.functions_host.routing import RouteTable
from devstack.functions_host.settings import BadSettings, Settings, disabled
from devstack.functions_host.throttle import Throttle
from devstack.functions_host.timer_status import Status, StatusFiles
from devstack.functions_host.timers import Timers
from devstack.functions_host.tracing import Trace, continued
from devstack.functions_host.worker import Attempt, Inputs, Outcome
from shared_code.model import ncrontab


def http(name: str, route: str, *methods: str, argument: str = "req") -> Function:
    binding: dict[str, Any] = {"type": "httpTrigger", "name": argument, "route": route, "authLevel": "ANONYMOUS"}
    if methods:
        binding["methods"] = list(methods)
    return indexed(name, binding, {"type": "http", "name": "$return"})


def timer(name: str, schedule: str, retry: RpcRetryOptions | None = None, **trigger: Any) -> Function:
    binding = {"type": "timerTrigger", "name": "timer", "schedule": schedule, **trigger}
    return indexed(name, binding, retry=retry)


def indexed(name: str, *bindings: dict[str, Any], retry: RpcRetryOptions | None = None) -> Function:
    texts = [json.dumps({"direction": "IN", **binding}) for binding in bindings]
    return Function.from_worker(RpcFunctionMetadata(name=name, raw_bindings=texts, retry_options=retry))


def served_by(functions: list[Function], path: str, method: str = "GET", prefix: str = "") -> str | None:
    found = RouteTable(functions, prefix).match(method, path)
    return found[0].name if found else None


def parameters(route: str, path: str) -> dict[str, str] | None:
    found = RouteTable([http("one", route)]).match("GET", path)
    return dict(found[1]) if found else None


class TestRouting:
    def test_the_first_by_name_wins_however_literal_the_other_is(self) -> None:
        assert served_by([http("z_search", "partners/search"), http("a_get", "partners/{id}")], "partners/search") == (
            "a_get"
        )
        assert served_by([http("a_search", "partners/search"), http("b_get", "partners/{id}")], "partners/search") == (
            "a_search"
        )

    def test_names_are_compared_in_upper_case_so_an_underscore_comes_after_letters(self) -> None:
        assert served_by([http("get_a", "{x}"), http("geta", "{y}"), http("GETB", "{z}")], "1") == "geta"
        assert served_by([http("get_a", "{x}"), http("GETB", "{z}")], "1") == "GETB"

    def test_a_method_that_does_not_match_lets_the_next_function_try(self) -> None:
        functions = [http("a", "things", "GET"), http("b", "things", "POST"), http("c", "{*rest}")]
        assert served_by(functions, "things", "POST") == "b"
        assert served_by(functions, "things", "DELETE") == "c"
        assert served_by(functions[:2], "things", "DELETE") is None
        assert served_by(functions[:2], "things", "HEAD") is None

    def test_a_constraint_that_refuses_lets_the_next_function_try(self) -> None:
        functions = [http("a", "p/{id:guid}"), http("b", "p/{id:int}"), http("c", "p/{name}")]
        assert served_by(functions, "p/c56a4180-65aa-42ec-a945-5fd21dec0538") == "a"
        assert served_by(functions, "p/12") == "b"
        assert served_by(functions, "p/search") == "c"

    def test_letters_case_and_a_trailing_slash_do_not_matter(self) -> None:
        assert served_by([http("a", "api/Things")], "API/things/") == "a"
        assert parameters("api/{id}", "API/AbC/") == {"id": "AbC"}

    def test_the_prefix_stands_before_every_route(self) -> None:
        assert served_by([http("a", "things")], "api/things", prefix="api") == "a"
        assert served_by([http("a", "things")], "things", prefix="api") is None

    def test_a_function_without_a_route_is_served_under_its_name(self) -> None:
        assert served_by([http("Health", "")], "health") == "Health"

    @pytest.mark.parametrize(
        ("route", "path", "expected"),
        [
            ("a/{id?}", "a", {}),
            ("a/{id?}", "a/1", {"id": "1"}),
            ("a/{id=5}", "a", {"id": "5"}),
            ("a/{id=5}/{x?}", "a/1/2", {"id": "1", "x": "2"}),
            ("a/{id:int=5}", "a", {"id": "5"}),
            ("a/{id:int?}", "a/x", None),
            ("{*rest}", "", {}),
            ("a/{*rest}", "a/b/c/", {"rest": "b/c/"}),
            ("a/{**rest}", "a", {}),
            ("a/{id}", "a", None),
            ("a/{id}", "a/b/c", None),
            ("a/{id}", "a//", None),
            ("f/{name}.{ext}", "f/x.tar.gz", {"name": "x.tar", "ext": "gz"}),
            ("v{version}/a", "v2/a", {"version": "2"}),
        ],
    )
    def test_templates(self, route: str, path: str, expected: dict[str, str] | None) -> None:
        assert parameters(route, path) == expected

    @pytest.mark.parametrize(
        ("constraint", "good", "bad"),
        [
            ("int", ["0", "-5", "+7", "2147483647"], ["x", "1.5", "2147483648", "٣"]),
            ("long", ["9223372036854775807"], ["9223372036854775808"]),
            ("bool", ["true", "FALSE"], ["1", "yes"]),
            ("datetime", ["2026-01-31", "2026-01-31T10:00:00Z", "01-31-2026"], ["tomorrow", "2026-13-01"]),
            ("decimal", ["1.5", "-3", "1,000.5"], ["1e5", "x"]),
            ("double", ["1.5", "1e5", "NaN"], ["x", ""]),
            ("float", ["-1.5E-3"], ["1.5x"]),
            (
                "guid",
                ["c56a4180-65aa-42ec-a945-5fd21dec0538", "{C56A4180-65AA-42EC-A945-5FD21DEC0538}", "0" * 32],
                ["c56a4180", "{c56a4180-65aa-42ec-a945-5fd21dec0538"],
            ),
            ("minlength(3)", ["abc"], ["ab"]),
            ("maxlength(3)", ["abc"], ["abcd"]),
            ("length(3)", ["abc"], ["ab", "abcd"]),
            ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
            ("min(18)", ["18", "99"], ["17", "x"]),
            ("max(18)", ["18", "-3"], ["19"]),
            ("range(18,20)", ["18", "20"], ["17", "21"]),
            ("alpha", ["AbC"], ["a1", "a_b"]),
            (r"regex(^\\d{{3}}-(a|b)$)", [], ["123"]),
            (r"regex(^\d{{3}}-(a|b)$)", ["123-A"], ["1234-a", "123-c"]),
            ("required", ["x"], []),
            ("int:range(1,9)", ["5"], ["10"]),
        ],
    )
    def test_constraints(self, constraint: str, good: list[str], bad: list[str]) -> None:
        for value in good:
            assert parameters(f"a/{{x:{constraint}}}", f"a/{value}") == {"x": value}
        for value in bad:
            assert parameters(f"a/{{x:{constraint}}}", f"a/{value}") is None

    @given(st.sampled_from(["things", "Things/", "things/1", "things/x", "other", "a/b/c", "", "things/1/more"]))
    def test_the_fast_way_gives_what_trying_one_by_one_gives(self, path: str) -> None:
        routes = ["things/{id:int}", "things", "{a}/{b}", "other", "things/{*rest}", "a/b/{c:alpha}", "{x?}"]
        functions = [http(f"f{position}", route) for position, route in enumerate(routes)]
        first = next((one.name for one in functions if served_by([one], path)), None)
        assert served_by(functions, path) == first


class TestPaths:
    def test_everything_is_decoded_but_an_encoded_slash(self) -> None:
        assert decoded(b"/a%2Fb%2fc/d%20e%C3%A9") == "a%2Fb%2fc/d eé"

    def test_the_url_is_encoded_again(self) -> None:
        assert encoded("a%2Fb/d eé~") == "a%2Fb/d%20e%C3%A9~"


class TestLint:
    def test_a_clean_app_has_no_problems(self) -> None:
        assert lint([http("a_get", "p/{id:guid}", "GET"), http("b_search", "p/search"), timer("t", "%WHEN%")]) == []

    @pytest.mark.parametrize(
        ("function", "reason"),
        [
            (http("1st", "a"), "its name"),
            (http("Host", "a"), "its name"),
            (http("x" * 129, "a"), "its name"),
            (http("a", "administrators"), "reserved"),
            (http("a", "Runtime/x"), "reserved"),
            (http("a", "a", argument="my_req"), "binding name 'my_req'"),
            (http("a", "a/{id:uuid}"), "constraint 'uuid'"),
            (http("a", "a/{id:length(x)}"), "constraint 'length(x)'"),
            (http("a", "a/{*rest}/b"), "after its catch-all"),
            (http("a", "a/{id}/{ID}"), "twice"),
            (http("a", "a/{id"), "braces"),
            (http("a", "a//b"), "empty segment"),
            (timer("a", "0 0 25 * * *"), "hour '25' is outside 0 to 23"),
            (timer("a", "00:05:00"), "not NCRONTAB"),
            (indexed("a"), "0 triggers"),
            (indexed("a", {"type": "httpTrigger", "name": "x"}, {"type": "timerTrigger", "name": "y"}), "2 triggers"),
        ],
    )
    def test_what_the_real_host_refuses(self, function: Function, reason: str) -> None:
        (problem,) = lint([function])
        assert problem.startswith(f"function '{function.name}': ")
        assert reason in problem

    def test_the_later_of_two_equal_routes_with_a_method_in_common_is_refused(self) -> None:
        functions = [http("b", "/Things/"), http("a", "things", "GET"), http("c", "other", "GET")]
        assert list(refusals(functions)) == ["b"]
        assert lint([http("a", "things", "GET"), http("b", "things", "POST")]) == []

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (http("a", "partners/{id}", "GET"), http("b", "partners/search", "GET")),
            (http("a", "partners/{id}"), http("b", "partners/{id:int}")),
            (http("a", "{*rest}"), http("b", "health")),
            (http("a", "p/{*rest}"), http("b", "p/{id}/keys")),
            (http("a", "p/{*rest}"), http("b", "p")),
            (http("a", "p/{id}"), http("b", "p/{name}")),
            (http("a", "p/{x:alpha}"), http("b", "p/search")),
            (http("a", "p/{x:minlength(2)}"), http("b", "p/{y:guid}")),
        ],
    )
    def test_a_function_whose_path_goes_to_another_by_name_order(self, first: Function, second: Function) -> None:
        (problem,) = lint([second, first])
        assert problem.startswith("function 'b': ")
        assert "goes to 'a'" in problem

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (http("a", "p/search"), http("b", "p/{id}")),
            (http("a", "p/{id:guid}"), http("b", "p/search")),
            (http("a", "p/{id}", "GET"), http("b", "p/search", "POST")),
            (http("a", "p"), http("b", "p/{id?}")),
            (http("a", "p/{id}"), http("zz_not_found", "{*path}")),
        ],
    )
    def test_an_order_that_does_no_harm(self, first: Function, second: Function) -> None:
        assert lint([first, second]) == []


FIELDS = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
START = datetime(2020, 1, 1, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(), timedelta(days=70 * 365)).map(lambda past: START + past)


@st.composite
def schedules(draw: st.DrawFn) -> str:
    return " ".join(draw(field(low, high)) for low, high in FIELDS)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    span = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), span, value.map(str)), st.integers(1, high)).map("{0[0]}/{0[1]}".format)
    return st.one_of(
        st.just("*"), st.lists(st.one_of(value.map(str), span, stepped), min_size=1, max_size=3).map(",".join)
    )


class TestSchedules:
    @given(schedules(), MOMENTS)
    def test_the_next_time_is_later_fits_and_is_the_first(self, text: str, moment: datetime) -> None:
        schedule = ncrontab.parse(text)
        found = schedule.after(moment)
        if found is None:
            return
        assert found > moment
        assert schedule.matches(found)
        assert schedule.after(found - timedelta(seconds=1)) == found
        between = range(1, min(300, int((found - moment).total_seconds())))
        assert not any(schedule.matches(found - timedelta(seconds=back)) for back in between)

    @given(MOMENTS)
    def test_every_second_means_every_second(self, moment: datetime) -> None:
        schedule = ncrontab.parse("*/1 * * * * *")
        assert schedule.after(moment) == moment.replace(microsecond=0) + timedelta(seconds=1)

    @pytest.mark.parametrize(
        ("text", "after", "expected"),
        [
            ("0 */5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
            ("0 30 9-17/4 * * mon-fri", "2026-01-02T17:30:00", "2026-01-05T09:30:00"),
            ("15,45 59 23 31 dec *", "2026-12-31T23:59:45", "2027-12-31T23:59:15"),
            ("0 0 3/6 * * *", "2026-01-01T09:00:00", "2026-01-01T15:00:00"),
            ("0 0 0 13 * Friday", "2026-01-01T00:00:00", "2026-02-13T00:00:00"),
            ("0 0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
            ("0 0 0 29 feb sun", "2088-03-01T00:00:00", "2128-02-29T00:00:00"),
            ("0 0 0 * * 5-1", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
            ("*/10 * * * *", "2026-01-01T00:03:30", "2026-01-01T00:10:00"),
        ],
    )
    def test_examples(self, text: str, after: str, expected: str) -> None:
        found = ncrontab.parse(text).after(datetime.fromisoformat(after + "Z"))
        assert found == datetime.fromisoformat(expected + "Z")

    def test_a_day_that_no_month_has_never_comes(self) -> None:
        assert ncrontab.parse("0 0 0 30 2 *").after(datetime(2026, 1, 1, tzinfo=UTC)) is None

    @pytest.mark.parametrize(
        "text",
        ["", "* * * *", "60 * * * * *", "* * * 0 * *", "* * * * * 7", "*/0 * * * * *", "1- * * * * *", "a * * * * *"],
    )
    def test_what_is_not_a_schedule_is_refused(self, text: str) -> None:
        with pytest.raises(ncrontab.BadSchedule):
            ncrontab.parse(text)


class Calls:
    """Stands in for the worker: notes what each call was told, and fails as often as it is asked to."""

    def __init__(self, failures: int = 0) -> None:
        self.told: list[dict[str, Any]] = []
        self.attempts: list[Attempt] = []
        self.traces: list[str] = []
        self._failures = failures
        self._news = asyncio.Event()

    async def __call__(self, name: str, inputs: Inputs, trace: Trace, attempt: Attempt) -> Outcome:
        ((argument, datum),) = inputs
        assert (argument, datum.type) == ("timer", "json")
        self.told.append(json.loads(datum.value))
        self.attempts.append(attempt)
        self.traces.append(trace[0])
        self._news.set()
        return Outcome(len(self.told) > self._failures, None, "ValueError('no')", "")

    async def happened(self, times: int) -> None:
        async with asyncio.timeout(10):
            while len(self.told) < times:
                self._news.clear()
                await self._news.wait()


class Overlapping(Calls):
    """`most` is how many calls there were at once."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.at_once = self.most = 0

    async def __call__(self, name: str, inputs: Inputs, trace: Trace, attempt: Attempt) -> Outcome:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(self.seconds)
        self.at_once -= 1
        return await super().__call__(name, inputs, trace, attempt)


HOURLY = "0 0 * * * *"


def remembered(folder: Path, name: str, last: str, following: str) -> StatusFiles:
    files = StatusFiles(folder)
    moment = datetime.fromisoformat(last)
    files.write(name, Status(last=moment, next=datetime.fromisoformat(following), updated=moment))
    return files


class TestTimers:
    async def test_what_was_missed_is_made_up_for_once_and_marked_past_due(self, tmp_path: Path) -> None:
        files = remembered(tmp_path, "job", "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00")
        calls = Calls()
        timers = Timers([timer("job", HOURLY)], {}, calls, files)
        timers.start()
        await calls.happened(1)
        await timers.stop(5)
        (told,) = calls.told
        assert told["IsPastDue"] is True
        assert told["ScheduleStatus"]["Next"] == "2026-01-01T01:00:00+00:00"
        assert told["Schedule"] == {"AdjustForDST": True}
        after = files.read("job")
        assert after is not None
        assert after.next > datetime.now(UTC) - timedelta(minutes=1)

    @pytest.mark.parametrize(
        "files",
        [
            lambda folder: StatusFiles(folder),
            lambda folder: remembered(folder, "job", "2026-01-01T00:00:00+00:00", "2026-01-01T00:30:00+00:00"),
            lambda folder: remembered(folder, "other", "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00"),
        ],
        ids=["first start", "schedule changed", "renamed"],
    )
    async def test_nothing_was_missed(self, tmp_path: Path, files: Callable[[Path], StatusFiles]) -> None:
        calls, memory = Calls(), files(tmp_path)
        timers = Timers([timer("job", HOURLY)], {}, calls, memory)
        timers.start()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await timers.stop(5)
        assert calls.told == []
        noted = memory.read("job")
        assert noted is not None
        assert noted.next > datetime.now(UTC) - timedelta(minutes=1)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"Last": "x"}', '{"Last":"2026-01-01","Next":"2026-01-01"}'])
    def test_a_status_file_that_cannot_be_read_counts_as_none(self, tmp_path: Path, text: str) -> None:
        files = remembered(tmp_path, "job", "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00")
        (tmp_path / "timers" / "job.json").write_text(text)
        assert files.read("job") is None

    async def test_it_fires_every_second_and_two_runs_never_overlap(self, tmp_path: Path) -> None:
        calls = Overlapping(seconds=1.05)
        timers = Timers([timer("tick", "%TICK%")], {"TICK": "*/1 * * * * *"}, calls, StatusFiles(tmp_path))
        timers.start()
        await calls.happened(2)
        await timers.stop(5)
        assert calls.most == 1
        # Below a minute the host turns the monitor off: nothing is remembered, nothing told.
        assert calls.told[0] == {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
        assert not (tmp_path / "timers").exists()

    async def test_stopping_waits_for_the_run_under_way_and_starts_no_other(self) -> None:
        calls = Overlapping(seconds=0.2)
        timers = Timers([timer("job", HOURLY)], {}, calls, StatusFiles(None))
        timers.start()
        timers.fire("job")
        await asyncio.sleep(0.05)
        await timers.stop(5)
        assert len(calls.told) == 1

    async def test_retries_follow_the_policy(self) -> None:
        policy = RpcRetryOptions(max_retry_count=2, retry_strategy="fixed_delay", delay_interval=timedelta())
        calls = Calls(failures=9)
        timers = Timers([timer("job", HOURLY, policy)], {}, calls, StatusFiles(None))
        timers.fire("job")
        await timers.stop(5)
        assert [(attempt.number, attempt.limit) for attempt in calls.attempts] == [(0, 2), (1, 2), (2, 2)]
        assert calls.attempts[0].error is None
        assert calls.attempts[1].error is not None
        assert calls.attempts[1].error.message == "ValueError('no')"
        assert len(set(calls.traces)) == 3

    async def test_retries_end_with_the_first_success(self) -> None:
        policy = RpcRetryOptions(
            max_retry_count=-1, retry_strategy="exponential_backoff", minimum_interval=timedelta(milliseconds=1)
        )
        calls = Calls(failures=3)
        timers = Timers([timer("job", HOURLY, policy)], {}, calls, StatusFiles(None))
        timers.fire("job")
        await timers.stop(5)
        assert [attempt.number for attempt in calls.attempts] == [0, 1, 2, 3]

    async def test_run_on_startup_runs_once_at_start(self) -> None:
        calls = Calls()
        timers = Timers([timer("job", HOURLY, runOnStartup=True)], {}, calls, StatusFiles(None))
        timers.start()
        await calls.happened(1)
        await timers.stop(5)
        assert [told["IsPastDue"] for told in calls.told] == [False]

    @pytest.mark.parametrize(("environment", "reason"), [({}, "setting WHEN"), ({"WHEN": "soon"}, "not NCRONTAB")])
    def test_a_schedule_that_cannot_be_read_breaks_that_timer_only(
        self, environment: dict[str, str], reason: str
    ) -> None:
        timers = Timers([timer("job", "%WHEN%"), timer("other", HOURLY)], environment, Calls(), StatusFiles(None))
        assert list(timers.broken) == ["job"]
        assert reason in timers.broken["job"]


class TestThrottle:
    async def test_so_many_work_so_many_wait_and_the_rest_is_refused(self) -> None:
        throttle = Throttle(max_concurrent=1, max_outstanding=2)
        assert throttle.enter_at_once()
        waiting = asyncio.create_task(throttle.enter())
        await asyncio.sleep(0)
        assert not await throttle.enter()
        throttle.leave()
        assert await waiting
        throttle.leave()
        assert throttle.enter_at_once()

    async def test_one_who_gives_up_waiting_frees_the_place(self) -> None:
        throttle = Throttle(max_concurrent=1, max_outstanding=2)
        assert await throttle.enter()
        waiting = asyncio.create_task(throttle.enter())
        await asyncio.sleep(0)
        throttle.leave()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert throttle.enter_at_once()


class TestRequests:
    def test_query_values_are_joined_and_empty_ones_dropped(self) -> None:
        assert read_query(b"a=1&b=&A=2&c&d=%20x+y&e=&e=3&=5") == {"a": "1,2", "d": " x y", "e": ",3", "": "5"}

    def test_headers_are_joined_and_the_client_is_noted_once(self) -> None:
        raw = [(b"x-a", b"1"), (b"x-a", "é".encode()), (b"x-empty", b"")]
        assert read_headers(raw, ("127.0.0.1", 5)) == {"x-a": "1,é", "x-empty": "", "x-forwarded-for": "127.0.0.1:5"}
        assert read_headers([(b"x-forwarded-for", b"9.9.9.9")], ("127.0.0.1", 5))["x-forwarded-for"] == "9.9.9.9"

    @pytest.mark.parametrize("incoming", ["", "junk", f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'0' * 16}-01"])
    def test_a_traceparent_that_is_not_valid_starts_a_new_trace(self, incoming: str) -> None:
        parent, state = continued({"traceparent": incoming, "tracestate": "k=v"})
        assert len(parent) == 55
        assert parent.endswith("-01")
        assert state == ""


def response(status: int, headers: dict[str, str], body: bytes, *cookies: str) -> Datum:
    values = {name: Datum(value, "string") for name, value in headers.items()}
    jars = [SimpleCookie(cookie) for cookie in cookies] or None
    code = Datum(str(status), "string")
    return Datum({"status_code": code, "headers": values, "cookies": jars, "body": Datum(body, "bytes")}, "http")


class TestReplies:
    def test_cookies_are_written_as_asp_net_writes_them(self) -> None:
        cookies = ["a=1+2; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60", "b=x; Domain=d.test"]
        reply = Replies(Settings()).of(response(200, {}, b"", *cookies), {})
        assert reply.head.split(b"\r\n") == [
            b"content-length: 0",
            b"set-cookie: a=1%2B2; max-age=60; path=/; secure; samesite=lax; httponly",
            b"set-cookie: b=x; domain=d.test",
            b"",
        ]

    @pytest.mark.parametrize("status", [204, 304])
    def test_an_answer_that_may_have_no_body_has_none(self, status: int) -> None:
        reply = Replies(Settings()).of(response(status, {"Content-Length": "1"}, b"x"), {})
        assert (reply.body, reply.head) == (b"", b"")

    @pytest.mark.parametrize(
        "value",
        [
            None,
            response(99, {}, b""),
            response(200, {"x": "é"}, b""),
            response(200, {"x": "a\r\nb: c"}, b""),
            response(200, {"x: y": "z"}, b""),
            Datum(b"x", "bytes"),
        ],
    )
    def test_what_cannot_be_sent_is_a_bad_reply(self, value: Datum | None) -> None:
        with pytest.raises(BadReply):
            Replies(Settings()).of(value, {})

    @pytest.mark.parametrize(
        ("text", "status", "kind", "body"),
        [
            ("plain", 200, b"text/plain; charset=utf-8", b"plain"),
            ('{"a": 1}', 200, b"application/json; charset=utf-8", b'{"a":1}'),
            ('{"Body": "x", "statusCode": "202"}', 202, b"text/plain; charset=utf-8", b"x"),
            ('{"body": {"a": 1}, "headers": {"Content-Type": "x/y"}}', 200, b"x/y", b'{"a":1}'),
        ],
    )
    def test_a_returned_string_is_read_as_the_real_host_reads_it(
        self, text: str, status: int, kind: bytes, body: bytes
    ) -> None:
        reply = Replies(Settings()).of(Datum(text, "string"), {})
        assert (reply.status, reply.body) == (status, body)
        assert b"content-type: " + kind in reply.head.split(b"\r\n")


class TestSettings:
    def read(self, folder: Path, text: str, **environment: str) -> Settings:
        (folder / "host.json").write_text(text)
        return Settings.read(folder, environment)

    def test_an_empty_host_json_means_the_defaults(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, '{"version": "2.0"}') == Settings()

    def test_the_environment_overrides_host_json(self, tmp_path: Path) -> None:
        text = '{"version": "2.0", "extensions": {"http": {"routePrefix": "x", "maxConcurrentRequests": 1}}}'
        settings = self.read(tmp_path, text, AzureFunctionsJobHost__extensions__http__maxConcurrentRequests="7")
        assert (settings.route_prefix, settings.max_concurrent) == ("x", 7)

    @pytest.mark.parametrize(
        ("max_age", "expected"),
        [("365", "max-age=31536000"), ("1.00:00:30", "max-age=86430"), ("00:10:00", "max-age=600")],
    )
    def test_the_age_of_hsts_is_a_time_span_where_a_bare_number_is_days(
        self, tmp_path: Path, max_age: str, expected: str
    ) -> None:
        hsts = {"isEnabled": True, "maxAge": max_age, "includeSubDomains": True}
        text = json.dumps({"version": "2.0", "extensions": {"http": {"hsts": hsts}}})
        found = self.read(tmp_path, text).hsts
        assert found is not None
        assert found.value == f"{expected}; includeSubDomains"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            '{"version": "1"}',
            '{"version": "2.0", "functionTimeout": "soon"}',
            '{"version":"2.0","extensions":5}',
        ],
    )
    def test_a_host_json_that_cannot_be_used_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(BadSettings, match=r"host\.json"):
            self.read(tmp_path, text)

    def test_a_missing_host_json_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadSettings, match="does not exist"):
            Settings.read(tmp_path, {})

    def test_a_function_can_be_switched_off(self) -> None:
        assert disabled("job", {"AzureWebJobs.job.Disabled": "true"})
        assert disabled("job", {"AzureWebJobs__job__Disabled": "1"})
        assert not disabled("job", {"AzureWebJobs.job.Disabled": "false"})


def test_consecutive_slots_of_a_schedule_are_in_order() -> None:
    schedule = ncrontab.parse("*/7 1-59/9 * * * *")
    slots = [datetime(2026, 1, 1, tzinfo=UTC)]
    for _ in range(200):
        following = schedule.after(slots[-1])
        assert following is not None
        slots.append(following)
    assert all(earlier < later for earlier, later in pairwise(slots))
