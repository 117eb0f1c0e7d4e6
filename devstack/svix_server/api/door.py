"""What every door does: faults, idempotency, one transaction, errors as Svix words them.

A handler is a plain function from a `Call` to a `Reply`. It runs inside one transaction, and its answer
leaves only after that is on disk.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from devstack.svix_server import application, endpoint, idempotency, message
from devstack.svix_server.api.bodies import Body, read_body
from devstack.svix_server.application import Application
from devstack.svix_server.auth import Permissions
from devstack.svix_server.endpoint import Endpoint
from devstack.svix_server.errors import ApiError, forbidden, not_found, payload_too_large
from devstack.svix_server.message import Message
from devstack.svix_server.reply import Reply
from devstack.svix_server.server import SvixServer

MAX_BODY = 10 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: who asks, what for, and the means to answer."""

    server: SvixServer
    authorization: str
    path: dict[str, str]
    query: QueryParams
    body: bytes

    def permissions(self) -> Permissions:
        return self.server.tokens.permissions(self.authorization)

    def organization(self) -> str:
        """The organisation; an application token may not."""
        permissions = self.permissions()
        if permissions.app_id is not None:
            raise forbidden()
        return permissions.org_id

    def own_application(self) -> Application:
        """The application in the path; an application token may not, even for its own."""
        return self._application(self.organization())

    def application(self) -> Application:
        """The application in the path; an application token sees its own only."""
        permissions = self.permissions()
        app = self._application(permissions.org_id)
        if permissions.app_id not in (None, app.id):
            raise not_found()
        return app

    def endpoint(self, app: Application) -> Endpoint:
        found = endpoint.find(self.server.store.db, app.id, self.path["endpoint_id"])
        return _present(found)

    def message(self, app: Application) -> Message:
        return _present(message.find(self.server.store.db, app.id, self.path["msg_id"]))

    def read[B: Body](self, kind: type[B]) -> B:
        return read_body(kind, self.body)

    def _application(self, org_id: str) -> Application:
        return _present(application.find(self.server.store.db, org_id, self.path["app_id"]))


@dataclass(frozen=True, slots=True)
class Route:
    """`faulty`: faults and idempotency keys concern it, as they do all of Svix's own routes."""

    method: str
    path: str
    handler: Callable[[Call], Reply]
    faulty: bool = True

    def on(self, server: SvixServer) -> StarletteRoute:
        return StarletteRoute(self.path, Door(server, self).answer, methods=[self.method])


@dataclass(frozen=True, slots=True)
class Door:
    server: SvixServer
    route: Route

    async def answer(self, request: Request) -> Response:
        try:
            call = await self._call(request)
            reply = await self._with_faults(call, request)
        except ApiError as error:
            reply = Reply.refusal(error)
        except ClientDisconnect:
            reply = Reply(status=400)
        media_type = "application/json" if reply.body else None
        return Response(reply.body, reply.status, dict(reply.headers), media_type)

    async def _call(self, request: Request) -> Call:
        return Call(
            server=self.server,
            authorization=request.headers.get("authorization", ""),
            path=request.path_params,
            query=request.query_params,
            body=await _bounded_body(request),
        )

    async def _with_faults(self, call: Call, request: Request) -> Reply:
        if not self.route.faulty:
            return await self._perform(call, None)
        fault = self.server.faults.next_for(f"{self.route.method} {self.route.path}")
        if fault is None:
            return await self._once(call, request)
        instead = await fault.instead()
        return instead or await fault.after(await self._once(call, request))

    async def _once(self, call: Call, request: Request) -> Reply:
        """A repeated idempotency key gets the kept reply."""
        given = request.headers.get("idempotency-key")
        if given is None or not call.authorization or self.route.method != "POST":
            return await self._perform(call, None)
        uri = f"{request.url.path}?{request.url.query}"
        key = idempotency.key(call.authorization, given, uri)
        kept = await self.server.replies.claim(key)
        if kept is not None:
            return kept
        try:
            return await self._perform(call, key)
        finally:
            self.server.replies.release(key)

    async def _perform(self, call: Call, key: bytes | None) -> Reply:
        try:
            reply = self._in_transaction(call, key)
            await self.server.store.committed()
        except ApiError as error:
            return Reply.refusal(error)
        except Exception:
            _log.exception("%s %s failed", self.route.method, self.route.path)
            return Reply(status=500, body=b"{}")
        return reply

    def _in_transaction(self, call: Call, key: bytes | None) -> Reply:
        if self.route.method == "GET":
            return self.route.handler(call)
        with self.server.store.transaction():
            reply = self.route.handler(call)
            if key is not None and reply.succeeded:
                self.server.replies.keep(key, reply)
        return reply


async def _bounded_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise payload_too_large()
    return bytes(body)


def _present[T](found: T | None) -> T:
    if found is None:
        raise not_found()
    return found
