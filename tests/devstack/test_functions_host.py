"""The Functions host as a process of its own, with small apps on Microsoft's worker library."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services import eventually

ROOT = Path(__file__).parents[2]
MASTER_KEY = "the-master-key"
PLAIN = {"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}

APP = """
import asyncio, json, pathlib
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
here = pathlib.Path(__file__).parent

@app.route(route="echo/{*rest}", methods=["GET", "POST", "OPTIONS"])
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    told = dict(
        method=req.method, url=req.url, headers=dict(req.headers), query=dict(req.params),
        route=dict(req.route_params), body=req.get_body().decode(), function=context.function_name,
        parent=context.trace_context.trace_parent, state=context.trace_context.trace_state,
        retries=context.retry_context.retry_count, invocation=context.invocation_id,
    )
    return func.HttpResponse(json.dumps(told), mimetype="application/json")

@app.route(route="items/{id:int}", methods=["GET"])
async def a_item(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("item")

@app.route(route="items/search", methods=["GET"])
async def b_search(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("search")

@app.route(route="sync")
def blocking(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("from a thread")

@app.route(route="boom")
async def boom(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("the secret detail")

@app.route(route="nothing")
async def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None

@app.route(route="own-headers")
async def own_headers(req: func.HttpRequest) -> func.HttpResponse:
    headers = {"X-Custom": "mine", "Strict-Transport-Security": "max-age=1", "Content-Length": "999"}
    reply = func.HttpResponse("x", headers=headers)
    reply.headers.add("X-Twice", "1")
    reply.headers.add("X-Twice", "2")
    reply.headers.add("Set-Cookie", "a=1; Path=/")
    reply.headers.add("Set-Cookie", "b=2; Path=/; HttpOnly")
    return reply

@app.route(route="no-content")
async def no_content(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("not to be seen", status_code=204)

@app.route(route="hold")
async def hold(req: func.HttpRequest) -> func.HttpResponse:
    with (here / "holding").open("a") as holding:
        holding.write("x")
    while not (here / "release").exists():
        await asyncio.sleep(0.01)
    return func.HttpResponse("released")

@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer")
async def yearly(timer: func.TimerRequest, context: func.Context) -> None:
    told = dict(past_due=timer.past_due, status=timer.schedule_status, parent=context.trace_context.trace_parent)
    (here / "yearly.json.new").write_text(json.dumps(told))
    (here / "yearly.json.new").rename(here / "yearly.json")
"""
APP_HOST = {
    "version": "2.0",
    "extensions": {
        "http": {
            "routePrefix": "",
            "maxConcurrentRequests": 2,
            "maxOutstandingRequests": 2,
            "customHeaders": {"X-Custom": "host", "X-Other": "host"},
            "hsts": {"isEnabled": True, "maxAge": "365"},
        }
    },
}

SECOND_APP = """
import asyncio, importlib.util, json, pathlib
import azure.functions as func
import httpx

app = func.FunctionApp()
here = pathlib.Path(__file__).parent

@app.route(auth_level=func.AuthLevel.ANONYMOUS)
async def open_to_all(req: func.HttpRequest) -> func.HttpResponse:
    told = dict(
        httpx=httpx.__file__, other=importlib.util.find_spec("shared_code") is None, length=len(req.get_body())
    )
    return func.HttpResponse(json.dumps(told))

@app.route(route="with-key")
async def with_key(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.params.get("code", "header"))

@app.route(route="for-admins", auth_level=func.AuthLevel.ADMIN)
async def for_admins(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("welcome")

@app.route(route="off", auth_level=func.AuthLevel.ANONYMOUS)
async def switched_off(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("not to be seen")

@app.route(route="slow", auth_level=func.AuthLevel.ANONYMOUS)
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(0.8)
    (here / "slow-ended").touch()
    return func.HttpResponse("too late")

@app.route(route="administrators", auth_level=func.AuthLevel.ANONYMOUS)
async def reserved(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("not to be seen")

@app.route(route="things/{id}", auth_level=func.AuthLevel.ANONYMOUS)
async def thing(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("thing")

@app.route(route="things/search", auth_level=func.AuthLevel.ANONYMOUS)
async def thing_search(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("search")

@app.timer_trigger(schedule="%TICK%", arg_name="timer")
async def tick(timer: func.TimerRequest) -> None:
    with (here / "ticks").open("a") as ticks:
        ticks.write("x")

@app.timer_trigger(schedule="%NOT_SET%", arg_name="timer")
async def never(timer: func.TimerRequest) -> None: ...
"""

BROKEN_APPS = {
    "import": ("import azure.functions\nimport nowhere\n", "No module named 'nowhere'", "\n  at function_app.py:2 "),
    "syntax": ("def f(:\n", "SyntaxError", "\n  at function_app.py:1: def f(:"),
    "exit": ("raise SystemExit(3)\n", "called sys.exit(3)"),
    "two apps": (
        "import azure.functions as f\na = f.FunctionApp()\nb = f.FunctionApp()\n",
        "More than one FunctionApp",
    ),
    "extra parameter": (
        "import azure.functions as f\napp = f.FunctionApp()\n@app.route()\nasync def one(req, extra) -> str: ...\n",
        "cannot load the one function",
    ),
}


@dataclass(frozen=True, slots=True)
class Host:
    folder: Path
    process: subprocess.Popen[bytes]
    http: httpx.Client

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    @property
    def log(self) -> str:
        return (self.folder / "stderr").read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


def an_app(folder: Path, text: str, settings: object = PLAIN) -> Path:
    (folder / "function_app.py").write_text(text)
    (folder / "host.json").write_text(json.dumps(settings))
    return folder


def launched(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "devstack.functions_host", "--app-root", str(folder), *arguments]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=err)


@contextmanager
def running(folder: Path, *arguments: str, **environment: str) -> Iterator[Host]:
    process = launched(folder, "--port", "0", *arguments, **environment)
    try:
        eventually(lambda: b"\n" in (folder / "stdout").read_bytes() or process.poll() is not None)
        assert process.poll() is None, (folder / "stderr").read_text()
        ready = (folder / "stdout").read_text()
        with httpx.Client(base_url=ready[ready.index("http://") :].split()[0]) as client:
            yield Host(folder, process, client)
    finally:
        process.kill()
        process.wait()


def failed(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code and stderr of a host that is expected to end by itself."""
    process = launched(folder, *arguments, **environment)
    return process.wait(30), (folder / "stderr").read_text()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = an_app(tmp_path_factory.mktemp("app"), APP, APP_HOST)
    limits = {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000", "AzureWebJobsDisableHomepage": "true"}
    with running(folder, DEVSTACK_MASTER_KEY=MASTER_KEY, **limits) as started:
        yield started


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = an_app(tmp_path_factory.mktemp("second"), SECOND_APP, {"version": "2.0"})
    (folder / "httpx").mkdir()
    (folder / "httpx" / "__init__.py").write_text("raise RuntimeError('the app shadows a package')")
    environment = {
        "DEVSTACK_ENFORCE_AUTH": "1",
        "DEVSTACK_MASTER_KEY": MASTER_KEY,
        "DEVSTACK_FUNCTION_KEY": "function-key",
        "DEVSTACK_FRONT_TIMEOUT": "0.3",
        "AzureWebJobs.switched_off.Disabled": "true",
        "AzureFunctionsJobHost__extensions__http__customHeaders__X-From-Env": "yes",
        "TICK": "*/1 * * * * *",
    }
    with running(folder, "--state", str(folder / "state"), "--access-log", **environment) as started:
        yield started


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[int, str]]:
    """Exit code and stderr of each; they are started all at once, as each ends by itself."""
    folders = {name: an_app(tmp_path_factory.mktemp("broken"), text) for name, (text, *_) in BROKEN_APPS.items()}
    processes = {name: launched(folder, "--port", "0") for name, folder in folders.items()}
    return {name: (process.wait(60), (folders[name] / "stderr").read_text()) for name, process in processes.items()}


def echoed(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 200, reply.status_code
    return reply.json()


class TestRequests:
    def test_python_is_told_what_the_real_host_tells(self, host: Host) -> None:
        told = echoed(host.http.post("/Echo/a%2Fb%20c?x=1&x=2&empty=&y=%20z", content=b"body"))
        assert told["method"] == "POST"
        assert told["url"] == f"{host.url}/Echo/a%2Fb%20c?x=1&x=2&empty=&y=%20z"
        assert told["query"] == {"x": "1,2", "y": " z"}
        assert told["route"] == {"rest": "a%2Fb c"}
        assert told["body"] == "body"
        assert (told["function"], told["retries"]) == ("echo", 0)

    def test_header_names_are_lower_case_and_values_of_one_name_joined(self, host: Host) -> None:
        told = echoed(host.http.get("/echo", headers=[("X-Twice", "1"), ("x-twice", "2"), ("X-Empty", "")]))
        assert told["headers"]["x-twice"] == "1,2"
        assert told["headers"]["x-empty"] == ""
        assert all(name == name.lower() for name in told["headers"])
        assert told["body"] == ""
        assert told["route"] == {}

    def test_the_callers_address_is_added_where_nobody_gave_one(self, host: Host) -> None:
        address, port = echoed(host.http.get("/echo"))["headers"]["x-forwarded-for"].split(":")
        assert address == "127.0.0.1"
        assert port.isdecimal()
        given = {"X-Forwarded-For": "203.0.113.9:1, 10.0.0.1:2"}
        assert echoed(host.http.get("/echo", headers=given))["headers"]["x-forwarded-for"] == (
            "203.0.113.9:1, 10.0.0.1:2"
        )

    def test_the_front_ends_headers_make_the_url(self, host: Host) -> None:
        headers = {"X-Forwarded-Proto": "https", "DISGUISED-HOST": "api.example.test"}
        assert echoed(host.http.get("/echo/x?y=1", headers=headers))["url"] == "https://api.example.test/echo/x?y=1"

    def test_a_body_without_a_length_never_reaches_python(self, host: Host) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"x" * 3000

        told = echoed(host.http.post("/echo", content=pieces()))
        assert told["headers"]["transfer-encoding"] == "chunked"
        assert told["body"] == ""

    def test_a_body_over_the_limit_is_a_500(self, host: Host) -> None:
        assert len(echoed(host.http.post("/echo", content=b"x" * 1000))["body"]) == 1000
        reply = host.http.post("/echo", content=b"x" * 1001)
        assert (reply.status_code, reply.content) == (500, b"")

    def test_a_client_that_waits_to_be_told_to_go_on_is_told(self, host: Host) -> None:
        with socket.create_connection(("127.0.0.1", httpx.URL(host.url).port or 0), timeout=10) as connection:
            connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
            connection.sendall(b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"body")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b'"body": "body"' in answer

    def test_what_is_asked_ahead_is_answered_in_turn_and_the_last_answer_closes(self, host: Host) -> None:
        with socket.create_connection(("127.0.0.1", httpx.URL(host.url).port or 0), timeout=10) as connection:
            connection.sendall(b"GET /echo?n=1 HTTP/1.1\r\nHost: x\r\n\r\nHEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.sendall(b"GET /echo?n=2 HTTP/1.0\r\n\r\n")
            first, second, third = b"".join(iter(lambda: connection.recv(65536), b"")).split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"200 OK\r\n")
        assert b'"n": "1"' in first
        assert second.startswith(b"404 Not Found\r\n")
        assert second.endswith(b"content-length: 0\r\n\r\n")
        assert b"connection: close\r\n" not in first + second
        assert b"connection: close\r\n" in third
        assert b'"n": "2"' in third

    def test_a_long_body_comes_whole(self, second: Host) -> None:
        assert second.http.post("/api/open_to_all", content=b"x" * 3_000_000).json()["length"] == 3_000_000

    def test_a_client_that_goes_away_before_its_body_came_is_not_served(self, host: Host) -> None:
        with socket.create_connection(("127.0.0.1", httpx.URL(host.url).port or 0), timeout=10) as connection:
            connection.sendall(b"POST /boom HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nabc")
        eventually(lambda: "POST /boom: the client went away, 3 of 99 bytes came" in host.log)

    def test_a_call_starts_a_trace(self, host: Host) -> None:
        one, other = (echoed(host.http.get("/echo"))["parent"] for _ in range(2))
        assert len(one) == 55
        assert one != other

    def test_a_call_is_a_child_of_the_callers_trace(self, host: Host) -> None:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        told = echoed(host.http.get("/echo", headers={"traceparent": parent, "tracestate": "vendor=1"}))
        version, trace, span, flags = told["parent"].split("-")
        assert (version, trace, flags) == ("00", "0af7651916cd43dd8448eb211c80319c", "00")
        assert span != "b7ad6b7169203331"
        assert told["state"] == "vendor=1"
        assert told["headers"]["traceparent"] == parent


class TestRouting:
    def test_constraints_choose_between_functions(self, host: Host) -> None:
        assert host.http.get("/items/5").text == "item"
        assert host.http.get("/items/search").text == "search"
        assert host.http.get("/items/other").status_code == 404

    def test_the_first_by_name_wins_and_the_log_says_what_is_shadowed(self, second: Host) -> None:
        assert second.http.get("/api/things/search").text == "thing"
        assert "'thing_search': '/things/search' of its route 'things/search' goes to 'thing'" in second.log

    @pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
    def test_a_method_that_is_not_listed_is_an_empty_404(self, host: Host, method: str) -> None:
        reply = host.http.request(method, "/items/5")
        assert (reply.status_code, reply.content) == (404, b"")

    def test_the_prefix_is_api_by_default(self, second: Host) -> None:
        assert second.http.get("/api/open_to_all").status_code == 200
        assert second.http.get("/open_to_all").status_code == 404

    def test_a_function_with_a_reserved_route_is_not_served(self, second: Host) -> None:
        assert second.http.get("/api/administrators").status_code == 404
        assert "function 'reserved' is not served: its route 'administrators' is reserved" in second.log

    def test_the_home_page_shows_unless_it_is_switched_off(self, host: Host, second: Host) -> None:
        shown = second.http.get("/")
        assert (shown.status_code, shown.headers["content-type"]) == (200, "text/html")
        hidden = host.http.get("/")
        assert (hidden.status_code, hidden.content) == (204, b"")


class TestAnswers:
    def test_the_functions_own_header_wins_over_a_custom_one(self, host: Host) -> None:
        reply = host.http.get("/own-headers")
        assert reply.headers.get_list("x-custom") == ["mine"]
        assert reply.headers["x-other"] == "host"
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.headers["content-length"] == "1"
        assert "date" in reply.headers
        assert "server" not in reply.headers

    def test_of_a_header_given_twice_the_last_value_is_sent(self, host: Host) -> None:
        assert host.http.get("/own-headers").headers.get_list("x-twice") == ["2"]

    def test_cookies_are_sent_one_by_one(self, host: Host) -> None:
        cookies = host.http.get("/own-headers").headers.get_list("set-cookie")
        assert cookies == ["a=1; path=/", "b=2; path=/; httponly"]

    def test_custom_headers_stand_on_every_answer_of_the_pipeline(self, host: Host) -> None:
        for path in ("/nobody", "/boom", "/no-content"):
            assert host.http.get(path).headers["x-custom"] == "host"

    def test_hsts_is_for_https_and_real_host_names(self, host: Host) -> None:
        https = {"X-Forwarded-Proto": "https", "Host": "api.example.test"}
        assert host.http.get("/echo", headers=https).headers["strict-transport-security"] == "max-age=31536000"
        assert host.http.get("/own-headers", headers=https).headers.get_list("strict-transport-security") == (
            ["max-age=31536000"]
        )
        for excluded in ({"X-Forwarded-Proto": "https"}, {"Host": "api.example.test"}):
            assert "strict-transport-security" not in host.http.get("/echo", headers=excluded).headers

    def test_an_uncaught_exception_is_an_empty_500_and_a_line_in_the_log(self, host: Host) -> None:
        reply = host.http.get("/boom")
        assert (reply.status_code, reply.content) == (500, b"")
        (line,) = {line.split("invocation")[0][24:] for line in host.log.splitlines() if "secret detail" in line}
        assert line.strip() == (
            "ERROR functions_host: function 'boom' failed: ValueError('the secret detail') [function_app.py:32 boom]"
        )

    def test_returning_nothing_is_a_500(self, host: Host) -> None:
        assert host.http.get("/nothing").status_code == 500

    def test_a_204_has_no_body(self, host: Host) -> None:
        reply = host.http.get("/no-content")
        assert (reply.status_code, reply.content) == (204, b"")

    def test_a_function_that_is_not_async_runs_in_a_thread(self, host: Host) -> None:
        assert host.http.get("/sync").text == "from a thread"

    def test_head_is_answered_where_it_is_listed(self, host: Host) -> None:
        reply = host.http.head("/sync")
        assert (reply.status_code, reply.headers["content-length"], reply.content) == (200, "13", b"")

    def test_requests_sent_without_waiting_are_answered_in_order(self, host: Host) -> None:
        with socket.create_connection(("127.0.0.1", httpx.URL(host.url).port or 0), timeout=10) as connection:
            one = b"%s HTTP/1.1\r\nHost: x\r\n\r\n"
            last = b"GET /nobody HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            connection.sendall(one % b"GET /sync" + one % b"HEAD /sync" + one % b"GET /items/1" + last)
            answers = b"".join(iter(lambda: connection.recv(65536), b"")).split(b"HTTP/1.1 ")
        assert [answer[:3] for answer in answers] == [b"", b"200", b"200", b"200", b"404"]
        assert [answer.partition(b"\r\n\r\n")[2] for answer in answers[1:]] == [b"from a thread", b"", b"item", b""]

    def test_many_answers_on_one_connection(self, host: Host) -> None:
        with httpx.Client(base_url=host.url) as client:
            for number in range(50):
                assert echoed(client.get(f"/echo/{number}"))["route"] == {"rest": str(number)}
                assert client.head("/items/5").status_code == 404


class TestLimits:
    async def test_one_request_too_many_is_an_empty_429(self, host: Host) -> None:
        async with httpx.AsyncClient(base_url=host.url, timeout=20) as client:
            held = [asyncio.create_task(client.get("/hold")) for _ in range(2)]
            holding = host.folder / "holding"
            await asyncio.to_thread(eventually, lambda: holding.exists() and len(holding.read_text()) == 2)
            refused = await client.get("/echo")
            admitted = await client.get("/admin/host/ping")
            (host.folder / "release").touch()
            answers = await asyncio.gather(*held)
        assert (refused.status_code, refused.content) == (429, b"")
        assert "x-custom" not in refused.headers
        assert admitted.status_code == 200
        assert [answer.text for answer in answers] == ["released", "released"]

    def test_a_caller_waits_no_longer_than_the_front_end_and_the_function_goes_on(self, second: Host) -> None:
        reply = second.http.get("/api/slow")
        assert (reply.status_code, reply.content) == (502, b"")
        eventually(lambda: (second.folder / "slow-ended").exists())


class TestKeys:
    @pytest.mark.parametrize(
        ("path", "header", "status"),
        [
            ("open_to_all", "", 200),
            ("with-key", "", 401),
            ("with-key", "wrong", 401),
            ("with-key", "function-key", 200),
            ("with-key", MASTER_KEY, 200),
            ("with-key?code=function-key", "", 200),
            ("with-key?code=function-key", "wrong", 401),
            ("for-admins", "function-key", 401),
            ("for-admins", MASTER_KEY, 200),
            ("off", MASTER_KEY, 404),
        ],
    )
    def test_levels_are_enforced_when_asked_for(self, second: Host, path: str, header: str, status: int) -> None:
        headers = {"x-functions-key": header} if header else {}
        assert second.http.get(f"/api/{path}", headers=headers).status_code == status


class TestAdmin:
    def fire(self, host: Host, name: str, key: str = MASTER_KEY) -> httpx.Response:
        return host.http.post(f"/admin/functions/{name}", json={}, headers={"x-functions-key": key})

    def test_a_timer_is_fired_by_hand(self, host: Host) -> None:
        reply = self.fire(host, "Yearly")
        assert (reply.status_code, reply.content) == (202, b"")
        written = host.folder / "yearly.json"
        eventually(written.exists)
        told = json.loads(written.read_text())
        assert told["past_due"] is False
        assert told["status"]["Last"] == "0001-01-01T00:00:00+00:00"
        assert len(told["parent"]) == 55

    @pytest.mark.parametrize("key", ["", "wrong"])
    def test_the_master_key_is_needed(self, host: Host, key: str) -> None:
        assert self.fire(host, "yearly", key).status_code == 401
        assert host.http.get("/admin/functions", headers={"x-functions-key": key}).status_code == 401

    def test_only_timers_that_are_there_can_be_fired(self, host: Host) -> None:
        assert self.fire(host, "nobody").status_code == 404
        assert self.fire(host, "echo").status_code == 400

    def test_the_functions_are_listed(self, host: Host) -> None:
        listed = host.http.get("/admin/functions", headers={"x-functions-key": MASTER_KEY}).json()
        assert {"echo", "yearly"} < {function["name"] for function in listed}
        status = host.http.get("/admin/host/status", params={"code": MASTER_KEY}).json()
        assert status["state"] == "Running"

    @pytest.mark.parametrize("path", ["/admin", "/admin/other", "/runtime/webhooks/x", "/Admin/functions/yearly"])
    def test_the_rest_of_the_hosts_own_space_is_a_404(self, host: Host, path: str) -> None:
        assert host.http.get(path).status_code == 404


class TestTimers:
    def test_a_timer_fires_by_its_schedule_from_the_settings(self, second: Host) -> None:
        ticks = second.folder / "ticks"
        eventually(lambda: ticks.exists() and len(ticks.read_text()) >= 2)

    def test_a_timer_whose_setting_is_missing_is_named_in_the_log(self, second: Host) -> None:
        assert "function 'never' is not served: its schedule '%NOT_SET%' needs the setting NOT_SET" in second.log


class TestImports:
    def test_the_apps_folder_comes_last_and_the_current_folder_not_at_all(self, second: Host) -> None:
        told = json.loads(second.http.get("/api/open_to_all").text)
        assert "site-packages" in told["httpx"]
        assert told["other"]

    @pytest.mark.parametrize("name", BROKEN_APPS)
    def test_an_app_that_cannot_be_loaded_ends_the_process(
        self, broken: Mapping[str, tuple[int, str]], name: str
    ) -> None:
        code, said = broken[name]
        assert code == 1
        assert said.startswith("functions host: the app cannot be loaded: ")
        assert len(said.splitlines()) <= 2
        for part in BROKEN_APPS[name][1:]:
            assert part in said


class TestProcess:
    def test_a_folder_without_an_app_is_refused(self, tmp_path: Path) -> None:
        an_app(tmp_path, "").joinpath("function_app.py").unlink()
        assert failed(tmp_path, "--port", "0") == (
            1,
            f"functions host: the app cannot be loaded: there is no function_app.py in {tmp_path}\n",
        )

    def test_a_module_of_the_same_name_elsewhere_is_not_taken_for_the_app(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "function_app.py").touch()
        (tmp_path / "app").mkdir()
        folder = an_app(tmp_path / "app", APP)
        code, said = failed(folder, "--port", "0", PYTHONPATH=str(tmp_path / "elsewhere"))
        assert code == 1
        assert "elsewhere/function_app.py comes before" in said

    def test_a_taken_port_is_one_clear_line(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            code, said = failed(an_app(tmp_path, APP), "--port", str(port))
        assert (code, said) == (1, f"functions host: cannot listen on 127.0.0.1:{port}: Address already in use\n")

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [(["--bind", "0.0.0.0"], "not a loopback address"), (["--app-root", "/no/such"], "not a folder")],
    )
    def test_a_wrong_command_line_is_said_so(self, tmp_path: Path, arguments: list[str], reason: str) -> None:
        code, said = failed(tmp_path, *arguments)
        assert code == 2
        assert reason in said

    def test_it_ends_with_0_and_lets_the_calls_under_way_finish(self, tmp_path: Path) -> None:
        with running(an_app(tmp_path, APP)) as host, held_call(host) as connection:
            host.process.send_signal(signal.SIGTERM)
            eventually(lambda: not accepts(host.url))
            (tmp_path / "release").touch()
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert answer.endswith(b"released")
            assert host.process.wait(10) == 0
            assert host.log == ""

    def test_it_waits_for_them_no_longer_than_the_grace_it_was_given(self, tmp_path: Path) -> None:
        with running(an_app(tmp_path, APP), "--grace", "0") as host, held_call(host) as connection:
            assert host.stop() == 0
            assert b" 503 " in b"".join(iter(lambda: connection.recv(65536), b""))

    def test_an_app_without_functions_runs_and_says_so(self, tmp_path: Path) -> None:
        text = "import azure.functions as func\napp = func.FunctionApp()\n"
        with running(an_app(tmp_path, text)) as host:
            assert host.http.get("/x").status_code == 404
            assert "the app has no functions" in host.log

    def test_check_lists_functions_and_problems(self, tmp_path: Path) -> None:
        process = launched(an_app(tmp_path, SECOND_APP), "--check")
        assert process.wait(30) == 1
        found: Mapping[str, Any] = json.loads((tmp_path / "stdout").read_text())
        assert len(found["functions"]) == 10
        assert len(found["problems"]) == 2

    def test_the_access_log_has_a_line_per_request_without_the_query(self, second: Host) -> None:
        second.http.get("/api/nobody?code=secret")
        eventually(lambda: "GET /api/nobody 404" in second.log)
        assert "secret" not in second.log


@contextmanager
def held_call(host: Host) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", httpx.URL(host.url).port or 0), timeout=20) as connection:
        connection.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        eventually(lambda: (host.folder / "holding").exists())
        yield connection


def accepts(url: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=5):
            return True
    except OSError:
        return False
