"""The server: the API group, and `/_devstack` for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from devstack.serving import Stamped, refused
from devstack.xano_server import control
from devstack.xano_server.group import Group

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def build(group: Group) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await group.events.switch_off()

    return Starlette(
        routes=[*control.routes(group), Route("/{path:path}", group.answer, methods=METHODS)],
        middleware=[Middleware(Stamped, {"X-Xano-Standin": "1"})],
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )
