"""One host process from start to end: load, check, listen, serve, stop (facts section 9 items 7 and 12)."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvicorn

from devstack.functions_host.access_log import AccessLog
from devstack.functions_host.asgi import App
from devstack.functions_host.lint import refusals, shadows
from devstack.functions_host.metadata import Function
from devstack.functions_host.one_write import OneWriteProtocol
from devstack.functions_host.server import FunctionsHost, Served
from devstack.functions_host.settings import Settings, disabled
from devstack.functions_host.timer_status import StatusFiles
from devstack.functions_host.timers import Timers
from devstack.functions_host.worker import Worker

_KEEP_ALIVE_SECONDS = 130

logger = logging.getLogger("functions_host")


class CannotListen(Exception):
    """The port cannot be had; the text is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`state` is where timers remember their last run, None remembers nothing; `grace` is how many seconds the
    calls under way have when the host is told to stop."""

    app_root: Path
    address: str
    port: int
    state: Path | None = None
    access_log: bool = False
    grace: int = 5


def open_port(options: Options) -> socket.socket:
    """Bound but not yet listening: nobody gets through before the app is loaded."""
    family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.address, options.port))
    except (OSError, OverflowError) as problem:
        listener.close()
        raise _cannot_listen(options, problem) from problem
    return listener


async def serve(options: Options, listener: socket.socket) -> None:
    """Returns after SIGTERM or SIGINT. Raises CannotLoad, BadSettings or CannotListen."""
    settings = Settings.read(options.app_root)
    worker = Worker(options.app_root)
    functions = await worker.load()
    refused = refusals(functions)
    accepted = [function for function in functions if function.name not in refused]
    off = {function.name for function in accepted if disabled(function.name, os.environ)}
    timers = Timers(_ticking(accepted, off), os.environ, worker.call, StatusFiles(options.state))
    _report(functions, refused | timers.broken, shadows(accepted))
    usable = [function for function in accepted if function.name not in timers.broken]
    host = FunctionsHost(Served(functions=usable, disabled=off, call=worker.call, fire=timers.fire), settings)
    server = _Server(AccessLog(host) if options.access_log else host, _summary(usable), options.grace)
    watcher = asyncio.create_task(host.watch())
    timers.start()
    try:
        await _until_told_to_stop(server, listener, timers)
    except OSError as problem:
        raise _cannot_listen(options, problem) from problem
    finally:
        watcher.cancel()


class _Server(uvicorn.Server):
    def __init__(self, app: App, summary: str, grace: int) -> None:
        super().__init__(_config(app, grace))
        self.grace = grace
        self._summary = summary

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = (sockets or [])[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"functions host: {self._summary} on http://{shown}:{port} (pid {os.getpid()})", flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Left to `_until_told_to_stop`: uvicorn would raise the signal again at the end instead of exiting with 0."""
        yield


async def _until_told_to_stop(server: _Server, listener: socket.socket, timers: Timers) -> None:
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True
        if not stopping:
            _end_in_any_case(server.grace + 1)
            stopping.append(asyncio.ensure_future(timers.stop(server.grace)))

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve(sockets=[listener])
    await asyncio.gather(*stopping)


def _config(app: App, grace: int) -> uvicorn.Config:
    return uvicorn.Config(
        cast("Any", app),
        interface="asgi3",
        loop="none",
        http=OneWriteProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Each call starts with an empty context, as a call in the worker process does.
        reset_contextvars=True,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace,
    )


def _end_in_any_case(seconds: int) -> None:
    """A handler stuck in a thread would keep the interpreter from ending for minutes."""
    alarm = threading.Timer(seconds, os._exit, (0,))
    alarm.daemon = True
    alarm.start()


def _report(functions: Sequence[Function], refused: Mapping[str, str], shadowed: Sequence[str]) -> None:
    for name, reason in refused.items():
        logger.error("function '%s' is not served: %s", name, reason)
    for problem in shadowed:
        logger.warning("%s", problem)
    if not functions:
        logger.warning("the app has no functions: is every blueprint registered?")


def _ticking(functions: Sequence[Function], off: Container[str]) -> list[Function]:
    return [function for function in functions if function.is_timer and function.name not in off]


def _summary(functions: Sequence[Function]) -> str:
    timers = sum(function.is_timer for function in functions)
    return f"{len(functions)} functions ({timers} timers)"


def _cannot_listen(options: Options, problem: Exception) -> CannotListen:
    reason = problem.strerror if isinstance(problem, OSError) else problem
    return CannotListen(f"cannot listen on {options.address}:{options.port}: {reason}")
