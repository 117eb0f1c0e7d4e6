"""Runs the server on uvicorn until SIGTERM or Ctrl-C, then leaves with what is under way finished."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from devstack.svix_server.server import SvixServer
from devstack.svix_server.settings import Settings
from devstack.svix_server.web import web_application

STANDIN_HEADER = ("x-svix-standin", "1")
REQUESTS_FINISH_WITHIN_SECONDS = 1
# Longer than any client keeps an idle connection (httpx: 5 s), so that none is closed under a request.
IDLE_CONNECTION_SECONDS = 75


class _Uvicorn(uvicorn.Server):
    """uvicorn raises the signal anew once it has stopped; a clean end here is exit code 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for wanted in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(wanted, self.leave)
        yield

    def leave(self) -> None:
        self.should_exit = True


async def serve(settings: Settings, directory: Path, listening: socket.socket) -> None:
    server = SvixServer(settings, directory)
    config = uvicorn.Config(
        web_application(server),
        log_level="warning",
        access_log=False,
        server_header=False,
        headers=[STANDIN_HEADER],
        lifespan="on",
        http="httptools",
        timeout_keep_alive=IDLE_CONNECTION_SECONDS,
        timeout_graceful_shutdown=REQUESTS_FINISH_WITHIN_SECONDS,
    )
    host, port = listening.getsockname()[:2]
    print(f"svix: listening on http://{host}:{port}", file=sys.stderr, flush=True)
    await _Uvicorn(config).serve(sockets=[listening])
