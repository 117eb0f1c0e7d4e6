"""One line per request on stderr, for those who ask for it."""

import logging
import time

from devstack.functions_host.asgi import App, Receive, Scope, Send
from devstack.functions_host.one_write import ANSWER, Answer
from devstack.functions_host.replies import Reply

logger = logging.getLogger("functions_host.access")


class AccessLog:
    """Method, path, status and milliseconds; never the query string, which may hold an OAuth code or a key."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, started = 0, time.perf_counter()
        answer: Answer = scope["extensions"][ANSWER]["whole"]

        async def noting(reply: Reply) -> None:
            nonlocal status
            status = reply.status
            await answer(reply)

        scope["extensions"][ANSWER] = {"whole": noting}
        try:
            await self._app(scope, receive, send)
        finally:
            took = (time.perf_counter() - started) * 1000
            logger.info("%s %s %d %.1f ms", scope["method"], scope["path"], status, took)
