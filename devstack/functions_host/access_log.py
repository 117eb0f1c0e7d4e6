"""One line per request on stderr, for those who ask for it."""

import logging
import time

from devstack.functions_host.asgi import App, Message, Receive, Scope, Send

logger = logging.getLogger("functions_host.access")


class AccessLog:
    """Method, path, status and milliseconds; never the query string, which may hold an OAuth code or a key."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, started = 0, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            took = (time.perf_counter() - started) * 1000
            logger.info("%s %s %d %.1f ms", scope["method"], scope["path"], status, took)
