"""The Svix-compatible server as a process: kills, ends, command line, settings (facts/svix.md §2)."""

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from svix.api import MessageCreateOptions
from svix.models import (
    EndpointIn,
    EventTypeIn,
    MessageIn,
)
from svix.webhooks import Webhook

from devstack.svix_server.auth import DEFAULT_ORG, Permissions, Tokens, org_token
from devstack.svix_server.testing.process import SECRET, RunningServer, running_server
from devstack.svix_server.testing.receiver import Receiver
from devstack.svix_server.testing.sdk import new_app, send
from devstack.svix_server.testing.waiting import eventually

ROOT = Path(__file__).parents[2]
SECRETLY = {"DEVSTACK_SVIX_JWT_SECRET": SECRET}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devstack.svix_server", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


class TestRestart:
    def test_nothing_accepted_is_lost_by_a_kill_nor_any_kept_reply(self, tmp_path: Path, receiver: Receiver):
        inbox, token = receiver.inbox(500), org_token(SECRET)
        repeated = (MessageIn(event_type="t", payload={}), MessageCreateOptions(idempotency_key="kept"))
        with running_server(tmp_path, RETRY="0.05,0.05,60") as server, server.client(token=token) as svix:
            app = new_app(svix)
            first = svix.message.create(app, *repeated)
            svix.endpoint.create(app, EndpointIn(url=inbox.url))
            with ThreadPoolExecutor(8) as pool:
                sent = list(pool.map(lambda n: send(svix, app, event_id=f"e-{n}").id, range(40)))
            server.kill()
        inbox.statuses = [200]
        inbox.received.clear()
        with running_server(tmp_path) as server, server.client(token=token) as svix:
            assert svix.message.create(app, *repeated) == first
            server.advance_clock(60)
            eventually(lambda: set(inbox.message_ids()) == set(sent))
            ledger = server.settled(app)
            assert [ledger[count] for count in ("messages", "event_ids", "attempts_succeeded")] == [41, 40, 40]

    def test_an_attempt_in_flight_is_made_again_with_the_same_id(self, tmp_path: Path, receiver: Receiver):
        inbox = receiver.inbox()
        inbox.hold = threading.Event()
        with running_server(tmp_path) as server, server.client() as svix:
            app = new_app(svix)
            endpoint = svix.endpoint.create(app, EndpointIn(url=inbox.url)).id
            sent = send(svix, app).id
            eventually(lambda: inbox.received)
            server.kill()
        inbox.hold.set()
        with running_server(tmp_path) as server, server.client() as svix:
            eventually(lambda: svix.message_attempt.list_by_endpoint(app, endpoint).data)
            assert inbox.message_ids() == [sent, sent]
            bodies = {received.body for received in inbox.received}
            assert bodies == {b'{"n":1}'}

    def test_a_polite_end_finishes_what_is_under_way(self, tmp_path: Path, receiver: Receiver):
        inbox = receiver.inbox()
        inbox.hold = threading.Event()
        with running_server(tmp_path) as server, server.client() as svix:
            app = new_app(svix)
            svix.endpoint.create(app, EndpointIn(url=inbox.url))
            sent = send(svix, app).id
            eventually(lambda: inbox.received)
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: _refuses(server))
            inbox.hold.set()
            assert server.process.wait(3) == 0
        log = (tmp_path / "server.log").read_text()
        assert f"{sent} endpoint=" in log
        assert "outcome=success" in log
        assert SECRET not in log
        assert '"n"' not in log


def _refuses(server: RunningServer) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), 1).close()
    except OSError:
        return True
    return False


class TestCommandLine:
    def test_it_will_not_start_without_its_secret(self, tmp_path: Path):
        done = run("--port", "1", "--data", str(tmp_path))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "DEVSTACK_SVIX_JWT_SECRET" in done.stderr

    def test_a_busy_port_and_a_used_directory_are_one_line_each(self, tmp_path: Path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            busy = run("--port", str(port), "--data", str(tmp_path), **SECRETLY)
        assert (busy.returncode, busy.stderr.count("\n")) == (1, 1)
        assert f"127.0.0.1:{port}" in busy.stderr
        with running_server(tmp_path / "used"):
            used = run("--port", "0", "--data", str(tmp_path / "used"), **SECRETLY)
        assert used.returncode == 1
        assert "is another server using it?" in used.stderr

    def test_it_prints_tokens(self):
        token = run("token", **SECRETLY).stdout.strip()
        assert Tokens(SECRET).permissions(f"Bearer {token}") == Permissions(DEFAULT_ORG)
        portal = run("token", "--org", "org_1", "--app", "app_1", **SECRETLY).stdout.strip()
        assert Tokens(SECRET).permissions(f"Bearer {portal}") == Permissions("org_1", "app_1")

    def test_help_names_every_setting(self):
        done = run("--help")
        assert done.returncode == 0
        for name in ("--port", "--data", "--bind", "DEVSTACK_SVIX_RETRY", "DEVSTACK_SVIX_TIMEOUT"):
            assert name in done.stdout


def test_white_labels_and_delivery_control(tmp_path: Path, receiver: Receiver):
    inbox = receiver.inbox(410)
    with running_server(tmp_path, RETRY="60", WHITELABEL="1", DELIVERY_CONTROL="1") as server, server.client() as svix:
        app = new_app(svix)
        endpoint = svix.endpoint.create(app, EndpointIn(url=inbox.url)).id
        send(svix, app)
        eventually(lambda: svix.endpoint.get(app, endpoint).disabled)
        headers = inbox.received[0].headers
        assert "svix-id" not in headers
        Webhook(svix.endpoint.get_secret(app, endpoint).key).verify(inbox.received[0].body, headers)


def test_loopback_may_be_refused_too(tmp_path: Path, receiver: Receiver):
    inbox = receiver.inbox()
    with running_server(tmp_path, RETRY="", ALLOW_LOOPBACK="0") as server, server.client() as svix:
        svix.event_type.create(EventTypeIn(name="t", description=""))
        app = new_app(svix)
        literal, name = (
            svix.endpoint.create(app, EndpointIn(url=url)).id
            for url in (inbox.url, inbox.url.replace("127.0.0.1", "localhost"))
        )
        send(svix, app)
        assert server.settled(app)["attempts_failed"] == 2
        for endpoint in (literal, name):
            assert svix.message_attempt.list_by_endpoint(app, endpoint).data[0].response_status_code == 0
        assert inbox.received == []
