"""The ASGI application: every route, and Svix's empty answers for what is not a route."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from devstack.svix_server.api import (
    access,
    applications,
    attempts,
    devstack,
    endpoint_settings,
    endpoints,
    event_types,
    messages,
    operational_webhooks,
    replays,
)
from devstack.svix_server.server import SvixServer

# Messages first: they are what there are most of, and routes are tried in order.
ROUTES = (
    *messages.ROUTES,
    *attempts.ROUTES,
    *applications.ROUTES,
    *endpoints.ROUTES,
    *endpoint_settings.ROUTES,
    *replays.ROUTES,
    *event_types.ROUTES,
    *operational_webhooks.ROUTES,
    *access.ROUTES,
    *devstack.ROUTES,
)


def web_application(server: SvixServer) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await server.start()
        yield
        await server.stop()

    application = Starlette(
        routes=[route.on(server) for route in ROUTES],
        lifespan=lifespan,
        exception_handlers={HTTPException: _empty},
    )
    application.router.redirect_slashes = False
    return _WithoutTrailingSlash(application)


async def _empty(_: Request, error: Exception) -> Response:
    """svix-server answers an unknown route with an empty 404 (facts/svix.md §0, finding 3)."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    return Response(status_code=status, headers=dict(headers or {}))


class _WithoutTrailingSlash:
    """svix-server takes every path with or without one."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._application(scope, receive, send)
