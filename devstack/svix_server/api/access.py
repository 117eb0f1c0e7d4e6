"""Portal links, logout, health (facts/svix.md §1)."""

from base64 import b64encode

import orjson

from devstack.svix_server.api.applications import ApplicationIn, find_or_create
from devstack.svix_server.api.bodies import Body
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.api.messages import application_not_found
from devstack.svix_server.errors import not_implemented
from devstack.svix_server.reply import NO_CONTENT, Reply

# Svix's own server has no portal either: the link leads to documentation.
_PORTAL = "https://docs.svix.com/management-ui"


class AppPortalAccessIn(Body):
    application: ApplicationIn | None = None


def app_portal_access(call: Call) -> Reply:
    """The token is real: 28 days for this application."""
    call.organization()
    app = find_or_create(call, call.read(AppPortalAccessIn).application)
    if app is None:
        raise application_not_found()
    token = call.server.tokens.for_application(app.org_id, app.id)
    key = b64encode(orjson.dumps({"appId": app.id, "token": token, "region": "local"})).decode()
    return Reply.json({"url": f"{_PORTAL}#key={key}", "token": token})


def logout(call: Call) -> Reply:
    call.permissions()
    raise not_implemented()


def health(call: Call) -> Reply:
    call.server.store.db.execute("SELECT 1")
    ok = {"status": "ok"}
    return Reply.json({"database": ok, "queue": ok, "cache": ok})


def ping(call: Call) -> Reply:
    return NO_CONTENT


ROUTES = (
    Route("POST", "/api/v1/auth/app-portal-access/{app_id}", app_portal_access),
    Route("POST", "/api/v1/auth/logout", logout),
    Route("GET", "/api/v1/health", health),
    Route("GET", "/api/v1/health/ping", ping),
)
