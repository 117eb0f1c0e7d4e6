"""The server: each front hands in its routes here."""

import sqlite3

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.partner import api, auth, control, oauth, webhooks
from devstack.partner.catalog import open_catalog
from devstack.partner.faults import Faults
from devstack.partner.grants import Grants
from devstack.partner.inbox import Inbox
from devstack.serving import RequestLog, Stamped, refused

ABOUT = {
    "name": "PinkSync example partner",
    "api": ["/api/orders", "/api/inventory"],
    "authentication": "X-API-Key, ?api_key=, Bearer, or Basic as pinksync; or an access token",
    "oauth": ["/oauth/authorize", "/oauth/token", "/oauth/revoke"],
    "webhooks": "/webhooks/{name}",
    "control": "/_devstack/health",
}


def build(database: sqlite3.Connection, api_key: str) -> Starlette:
    grants = Grants(database)
    rest = api.Api(
        api_key=api_key,
        catalog=open_catalog(database),
        faults=Faults(),
        log=RequestLog(secrets=auth.forms_of(api_key)),
        opens=grants.opens,
    )
    return Starlette(
        routes=[
            Route("/", about),
            *api.routes(rest),
            *oauth.routes(grants),
            *webhooks.routes(Inbox(database)),
            *control.routes(rest),
        ],
        middleware=[Middleware(Stamped)],
        exception_handlers={HTTPException: refused},
    )


async def about(_request: Request) -> Response:
    return JSONResponse(ABOUT)
