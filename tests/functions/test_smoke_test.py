"""`python -m scripts.smoke_test` against the running gateway, and against what is not it."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import httpx
import pytest

from devstack.process import ROOT
from scripts import smoke_test as script
from tests.functions.stack import Headers, Stack


def run(*arguments: str, key: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.smoke_test", *arguments]
    env = {script.ADMIN_KEY: key} if key else {}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_all_goes_well_and_nothing_is_left_behind(stack: Stack, api: httpx.Client, admin: Headers) -> None:
    key = stack.admin["Authorization"].removeprefix("Bearer ")
    done = run(stack.url, "--wait", "5", key=key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^8 of 8 checks went well\.$", done.stdout, re.MULTILINE)
    assert key not in done.stdout
    assert "pk_live_" not in done.stdout
    partners = api.get("/api/partners", params={"status": "active", "limit": 200}, headers=admin).json()["partners"]
    assert "Smoke test" not in [partner["name"] for partner in partners]


def test_without_a_key_it_asks_only_what_is_open(stack: Stack) -> None:
    done = run(stack.url)
    assert done.returncode == 0, done.stdout
    assert "7 of 7 checks went well." in done.stdout


def test_a_wrong_admin_key_fails_and_is_not_shown(stack: Stack) -> None:
    done = run(stack.url, key="pk_live_not-a-key")
    assert done.returncode == 1
    assert "FAIL  a partner, from onboarding to deletion: POST /api/partners/connect answered 401" in done.stdout
    assert "not-a-key" not in done.stdout + done.stderr


def test_an_app_that_is_open_behind_its_front_door_fails(stack: Stack) -> None:
    done = run(stack.url, "--direct-host", stack.url)
    assert done.returncode == 1
    assert "FAIL  around the front door: GET /api/health answered 200, not 403" in done.stdout


def test_nobody_there_is_told_as_that() -> None:
    done = run("http://127.0.0.1:9", "--wait", "0.1")
    assert done.returncode == 1
    assert "FAIL  GET /api/health: ConnectError" in done.stdout
    assert "0 of 7 checks went well." in done.stdout


class Forbidding(BaseHTTPRequestHandler):
    """Answers 403 to everything, as the platform does to who does not come through the front door."""

    def do_GET(self) -> None:
        self.send_error(403)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def forbidding() -> Iterator[str]:
    with serving(Forbidding) as url:
        yield url


def test_an_app_that_is_closed_behind_its_front_door_is_right(stack: Stack, forbidding: str) -> None:
    done = run(stack.url, "--direct-host", forbidding)
    assert done.returncode == 0, done.stdout
    assert "ok    around the front door: 403" in done.stdout


def test_another_server_is_not_taken_for_the_gateway(forbidding: str) -> None:
    done = run(forbidding)
    assert done.returncode == 1
    assert "0 of 7 checks went well." in done.stdout


class Replaced(BaseHTTPRequestHandler):
    """An app that a rolling update replaces: old and new code take turns for a while."""

    versions: ClassVar[list[str]] = []
    asked: ClassVar[int] = 0

    def do_GET(self) -> None:
        Replaced.asked += 1
        version = self.versions.pop(0) if self.versions else "0.1.0+new"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "ok", "version": version}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_it_waits_until_the_new_build_alone_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "PAUSE", 0.01)
    Replaced.versions = ["0.1.0+old", "0.1.0+new", "0.1.0+new", "0.1.0+old"]
    with serving(Replaced) as url, httpx.Client(base_url=url) as client:
        script.awake(client, 30, "new")
        assert Replaced.asked == 4 + script.STEADY


def test_another_build_is_not_taken_for_the_one_that_was_published(stack: Stack) -> None:
    done = run(stack.url, "--build", "1a2b3c", "--wait", "0.2")
    assert done.returncode == 1
    assert "FAIL  GET /api/health: version 0.1.0, not build 1a2b3c" in done.stdout
    assert "6 of 7 checks went well." in done.stdout


def test_what_the_deadline_leaves_out_fails(stack: Stack) -> None:
    done = run(stack.url, "--deadline", "0.001")
    assert done.returncode == 1
    assert "not tried: the deadline is over" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["api.example.com"], ["https://user:secret@example.com"]])
def test_a_wrong_command_line_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2
