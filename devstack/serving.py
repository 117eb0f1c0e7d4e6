"""What every stand-in server needs: a loopback port, a quick clean end, a memory of what it was asked."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HOST = "127.0.0.1"
HANG_UP = "devstack.hang_up"


class CannotStart(Exception):
    """The server cannot start; the text is one line for the person who tried."""


def command_line(name: str, about: str, environment: str) -> argparse.ArgumentParser:
    """Every stand-in takes the same two options; what else it needs stands in its environment."""
    parser = argparse.ArgumentParser(
        prog=f"python -m devstack.{name}",
        description=about,
        epilog=f"environment:\n{environment}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, required=True, help=f"port on {HOST}; 0 picks a free one")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder for its state")
    return parser


def required(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise CannotStart(f"the environment variable {variable} is not set")
    return value


def data_folder(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise CannotStart(f"cannot use {path} as the data folder: {problem.strerror}") from problem
    return path


def run(name: str, start: Callable[[], None]) -> int:
    """Do what `start` does, which ends with `serve`; a `CannotStart` becomes one line and exit 1."""
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, _leave)
    complaints = logging.StreamHandler()
    complaints.setFormatter(_OneLine(f"{name}: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[complaints])
    try:
        start()
    except CannotStart as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        return 1
    return 0


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    # uvicorn raises the signal again once it has shut down: then, as before it listened, exit 0.
    raise SystemExit(0)


class _OneLine(logging.Formatter):
    """A problem is one line: of an exception its name and text, not its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        problem = record.exc_info[1] if record.exc_info else None
        line = self._fmt % {"message": record.getMessage()} if self._fmt else record.getMessage()
        return f"{line}: {problem!r}" if problem else line


def listen(port: int) -> socket.socket:
    """Taken before anything else, so that a busy port is found before any file is touched."""
    if not 0 <= port <= 65535:
        raise CannotStart(f"{port} is not a port: take one from 0 to 65535")
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((HOST, port))
        taken.listen(1024)
    except OSError as problem:
        taken.close()
        reason = os.strerror(problem.errno or 0)
        raise CannotStart(f"cannot listen on {HOST}:{port} ({reason}); choose another --port") from problem
    return taken


def serve(app: ASGIApp, taken: socket.socket, name: str) -> None:
    """Serve until SIGTERM or Ctrl-C. An answer still being given then has one second."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    _Server(config, f"{name}: ready on http://{HOST}:{taken.getsockname()[1]}").run(sockets=[taken])


class _Server(uvicorn.Server):
    """uvicorn, saying on stdout when it listens."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.ready, flush=True)


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with a way to cut the line: a fault that ASGI itself has no word for."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {HANG_UP: {"abort": self.transport.abort}}


class NoAnswer(Response):
    """Closes the connection without a byte. Without a socket (httpx.ASGITransport) raises ConnectionError."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        abort = scope.get("extensions", {}).get(HANG_UP, {}).get("abort")
        if abort is None:
            raise ConnectionError("the server closed the connection without an answer")
        abort()
        while (await receive())["type"] != "http.disconnect":
            await asyncio.sleep(0)


class Stamped:
    """Puts fixed headers on every answer, and gives back the caller's X-Request-Id."""

    def __init__(self, app: ASGIApp, headers: dict[str, str] | None = None) -> None:
        self.app = app
        self.headers = headers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(raw=list(message["headers"]))
                self._stamp(Headers(scope=scope), answered)
                message["headers"] = answered.raw
            await send(message)

        try:
            await self.app(scope, receive, stamped if scope["type"] == "http" else send)
        except asyncio.CancelledError:  # the server is leaving and waits for nobody
            await NoAnswer()(scope, receive, send)

    def _stamp(self, asked: Headers, answered: MutableHeaders) -> None:
        for name, value in self.headers.items():
            answered[name] = value
        if "x-request-id" in asked:
            answered["x-request-id"] = asked["x-request-id"]


async def body_within(request: Request, limit: int) -> bytes | None:
    """The raw body, or None as soon as it proves to be longer than `limit` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def instruction[M: BaseModel](request: Request, model: type[M]) -> M:
    """The body of a `/_devstack` request; nonsense is a 422 that says what is wrong with which field."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as problem:
        faults = (f"{'.'.join(map(str, error['loc'])) or 'body'}: {error['msg']}" for error in problem.errors())
        raise HTTPException(422, "; ".join(faults)) from problem


async def refused(_request: Request, problem: Exception) -> Response:
    """The exception handler for HTTPException: its detail as JSON."""
    assert isinstance(problem, HTTPException)  # noqa: S101 (the type that Starlette's handlers are declared with)
    return JSONResponse({"error": problem.detail}, problem.status_code, problem.headers)


@dataclass(slots=True, kw_only=True)
class RequestLog:
    """The last requests, for tests to read. The server's own secrets are masked: others may read along."""

    secrets: Iterable[str] = ()
    entries: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=500))

    def note(self, request: Request, body: bytes) -> dict[str, Any]:
        """Keep this request; the caller fills in `status` when it is known."""
        entry: dict[str, Any] = {
            "at": rfc3339(datetime.now(UTC)),
            "method": request.method,
            "path": request.url.path,
            "query": self._masked(request.url.query),
            "headers": {name: self._masked(value) for name, value in request.headers.items()},
            "body": body[:16_384].decode(errors="replace"),
            "status": None,
        }
        self.entries.append(entry)
        return entry

    def _masked(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
