"""The server as a process of its own, on a free port."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from svix.api import Svix, SvixOptions

from devstack.svix_server import clock, ids
from devstack.svix_server.auth import DEFAULT_ORG, org_token
from devstack.svix_server.testing.waiting import eventually

SECRET = "the-jwt-secret-of-a-test-server"  # noqa: S105 (of a server that lives for one test)

_ROOT = Path(__file__).parents[3]
_START_SECONDS = 30
_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)\n")


def _plain_client() -> httpx.Client:
    return httpx.Client(verify=False)  # noqa: S501 (there is no TLS here, and setting it up is slow)


@dataclass(slots=True, kw_only=True)
class RunningServer:
    port: int
    process: subprocess.Popen[bytes]
    by_hand: httpx.Client = field(default_factory=_plain_client)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def client(
        self, org_id: str = DEFAULT_ORG, options: SvixOptions | None = None, token: str | None = None
    ) -> Iterator[Svix]:
        """The official SDK, which has no close of its own."""
        options = options or SvixOptions(retry_schedule=[])
        options.server_url = self.url
        svix = Svix(token or org_token(SECRET, org_id), options)
        with svix._httpx_client:
            yield svix

    def http(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any
    ) -> httpx.Response:
        """A request by hand, with an organisation token."""
        given = {"authorization": f"Bearer {org_token(SECRET)}"} | dict(headers or {})
        return self.by_hand.request(method, self.url + path, headers=given, **request)

    def order_faults(self, **faults: object) -> None:
        self.http("PUT", "/_devstack/faults", json=faults).raise_for_status()

    def advance_clock(self, seconds: float) -> None:
        self.http("PUT", "/_devstack/clock", json={"advance_seconds": seconds}).raise_for_status()

    def settled(self, app: str) -> dict[str, Any]:
        """The application's page of the ledger, once nothing is left to be sent."""

        def page() -> dict[str, Any]:
            found = self.http("GET", "/_devstack/ledger").json()["apps"][app]
            return found if found["pending"] == 0 else {}

        return eventually(page)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running_server(data: Path, **environment: str) -> Iterator[RunningServer]:
    """`RETRY="1,2"` sets DEVSTACK_SVIX_RETRY, and so on. The log is `server.log` in `data`."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "server.log"
    with log.open("ab") as written:
        begins = written.tell()
        process = _started(data, {"JWT_SECRET": SECRET, **environment}, written.fileno())
    try:
        server = RunningServer(port=_port(process, log, begins), process=process)
        with server.by_hand:
            eventually(lambda: server.http("GET", "/api/v1/health").is_success)
            yield server
    finally:
        process.terminate()
        process.wait(10)


def an_organization() -> str:
    """A new one: what it makes, no other test sees."""
    return ids.new_id(ids.ORG, clock.now())


def _started(data: Path, environment: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "devstack.svix_server", "--port", "0", "--data", str(data)],
        cwd=_ROOT,
        env=os.environ | {f"DEVSTACK_SVIX_{name}": value for name, value in environment.items()},
        stderr=log,
    )


def _port(process: subprocess.Popen[bytes], log: Path, begins: int) -> int:
    def listening() -> re.Match[str] | None:
        text = log.read_bytes()[begins:].decode()
        if process.poll() is not None:
            raise RuntimeError(f"the server did not start: {text}")
        return _LISTENING.search(text)

    found = eventually(listening, seconds=_START_SECONDS)
    return int(found.group(1)) if found else 0
