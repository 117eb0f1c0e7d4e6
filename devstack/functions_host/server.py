"""The HTTP front: one raw ASGI application, nothing between it and the worker library (facts section 9)."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from devstack.functions_host.access import Keys
from devstack.functions_host.admin import Admin
from devstack.functions_host.asgi import Receive, Scope, Send
from devstack.functions_host.metadata import Function
from devstack.functions_host.one_write import ANSWER, Answer
from devstack.functions_host.paths import decoded
from devstack.functions_host.replies import BadReply, Replies, Reply, bare
from devstack.functions_host.requests import ClientGone, http_datum, read_body, read_headers
from devstack.functions_host.routing import Match, RouteTable
from devstack.functions_host.settings import Settings
from devstack.functions_host.throttle import Throttle
from devstack.functions_host.tracing import Trace, continued
from devstack.functions_host.worker import Inputs, Outcome

_HOMEPAGE = b"<!DOCTYPE html><title>Functions host</title><p>Your Azure Function App is up and running (local host)."

logger = logging.getLogger("functions_host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The app as the front needs it: `call` runs a function, `fire` starts a timer's run."""

    functions: Sequence[Function]
    disabled: Container[str]
    call: Callable[[str, Inputs, Trace], Awaitable[Outcome]]
    fire: Callable[[str], None]


class FunctionsHost:
    """An ASGI 3 application for the "http" scope. Run `watch` beside it for the time limits."""

    def __init__(self, app: Served, settings: Settings) -> None:
        self._call = app.call
        self._settings = settings
        self._routes = RouteTable(app.functions, settings.route_prefix)
        self._replies = Replies(settings)
        self._keys = Keys(settings)
        self._admin = Admin(app.functions, self._keys, self._replies, app.fire)
        self._throttle = Throttle(settings.max_concurrent, settings.max_outstanding)
        self._in_flight: set[_InFlight] = set()
        self._disabled = app.disabled

    async def __call__(self, scope: Scope, receive: Receive, _: Send) -> None:
        answer: Answer = scope["extensions"][ANSWER]["whole"]
        try:
            reply = await self._reply(scope, receive, answer)
        except ClientGone as gone:
            logger.warning("%s %s: the client went away, %s", scope["method"], scope["path"], gone)
            return
        except asyncio.CancelledError:
            logger.warning("%s %s: cut off, the host is stopping", scope["method"], scope["path"])
            reply = bare(503)
        if reply is not None:
            await answer(reply)

    async def watch(self) -> None:
        """Ends the wait of callers whose function takes longer than the front end allows; the function goes on."""
        while True:
            await asyncio.sleep(min(1.0, self._settings.front_timeout / 4))
            for call in list(self._in_flight):
                with suppress(Exception):
                    await self._judge(call, time.monotonic() - call.started)

    async def _judge(self, call: "_InFlight", age: float) -> None:
        if age > self._settings.front_timeout and not call.answered:
            call.answered = True
            logger.error("function '%s' runs for more than %.0f s: 502 to its caller", call.name, age)
            await call.answer(bare(502))
        if age > self._settings.function_timeout and not call.overdue:
            call.overdue = True
            logger.error("function '%s' runs longer than functionTimeout: Azure would end the worker", call.name)

    async def _reply(self, scope: Scope, receive: Receive, answer: Answer) -> Reply | None:
        try:
            headers = read_headers(scope["headers"], scope["client"])
        except UnicodeDecodeError:
            return bare(400)
        path = decoded(scope["raw_path"])
        match = self._routes.match(scope["method"], path)
        if match is None or self._admin.owns(path):
            return self._beside_the_functions(scope, path, headers)
        if not (self._throttle.enter_at_once() or await self._throttle.enter()):
            logger.warning("%s /%s: 429, more than %d requests", scope["method"], path, self._settings.max_outstanding)
            return bare(429)
        call = _InFlight(match[0].name, answer)
        self._in_flight.add(call)
        try:
            reply = await self._run(scope, receive, match, path, headers)
        finally:
            self._in_flight.discard(call)
            self._throttle.leave()
        return None if call.answered else reply

    def _beside_the_functions(self, scope: Scope, path: str, headers: Mapping[str, str]) -> Reply:
        if self._admin.owns(path):
            return self._admin.answer(scope["method"], path, headers, scope["query_string"])
        if path:
            return self._replies.empty(404, headers)
        if self._settings.homepage_disabled:
            return self._replies.empty(204, headers)
        return self._replies.made(200, {"content-type": "text/html"}, _HOMEPAGE, headers)

    async def _run(self, scope: Scope, receive: Receive, match: Match, path: str, headers: Mapping[str, str]) -> Reply:
        route, parameters = match
        if route.name in self._disabled:
            return self._replies.empty(404, headers)
        if not self._keys.allow(route.auth_level, headers, scope["query_string"]):
            return self._replies.empty(401, headers)
        length = int(headers.get("content-length", 0))
        if length > self._settings.body_limit:
            logger.error("%s /%s: 500, the body of %d bytes is over the limit", scope["method"], path, length)
            return self._replies.empty(500, headers)
        body = await read_body(receive, length) if length else b""
        datum = http_datum(scope, path, headers, parameters, body)
        outcome = await self._call(route.name, [(route.argument, datum)], continued(headers))
        return self._reply_to(route.name, outcome, headers)

    def _reply_to(self, name: str, outcome: Outcome, headers: Mapping[str, str]) -> Reply:
        if outcome.ok:
            try:
                return self._replies.of(outcome.value, headers)
            except BadReply as problem:
                logger.error("function '%s': %s", name, problem)
        return self._replies.empty(500, headers)


class _InFlight:
    __slots__ = ("answer", "answered", "name", "overdue", "started")

    def __init__(self, name: str, answer: Answer) -> None:
        self.name = name
        self.answer = answer
        self.started = time.monotonic()
        self.answered = False
        self.overdue = False
