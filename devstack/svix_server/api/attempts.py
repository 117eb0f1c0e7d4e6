"""Attempts, and where messages went (facts/svix.md §1)."""

import sqlite3

from devstack.svix_server import attempt, ids
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.api.queries import attempt_filter, flag, page
from devstack.svix_server.application import Application
from devstack.svix_server.endpoint import find as find_endpoint
from devstack.svix_server.errors import not_found
from devstack.svix_server.reply import NO_CONTENT, Reply


def list_by_endpoint(call: Call) -> Reply:
    known = call.endpoint(call.application())
    return Reply.json(
        attempt.page(
            call.server.store.db,
            attempt.by_endpoint(known.id),
            page(call.query, ids.ATTEMPT),
            attempt_filter(call.query),
            with_content=flag(call.query, "with_content", True),
        )
    )


def list_by_message(call: Call) -> Reply:
    app = call.application()
    known = call.message(app)
    return Reply.json(
        attempt.page(
            call.server.store.db,
            attempt.by_message(known.id),
            page(call.query, ids.ATTEMPT),
            attempt_filter(call.query, _endpoint_filter(call, app)),
            with_content=flag(call.query, "with_content", True),
        )
    )


def list_attempted_messages(call: Call) -> Reply:
    known = call.endpoint(call.application())
    return Reply.json(
        attempt.messages_page(
            call.server.store.db,
            known.id,
            page(call.query, ids.MESSAGE),
            attempt_filter(call.query),
            with_content=flag(call.query, "with_content", True),
        )
    )


def list_attempted_destinations(call: Call) -> Reply:
    known = call.message(call.application())
    asked = page(call.query, ids.ENDPOINT, ascending=True)
    return Reply.json(attempt.destinations_page(call.server.store.db, known.id, asked))


def get(call: Call) -> Reply:
    return Reply.json(attempt.out(_attempt(call, call.application())))


def expunge_content(call: Call) -> Reply:
    attempt.expunge(call.server.store.db, _attempt(call, call.own_application())["id"])
    return NO_CONTENT


def _attempt(call: Call, app: Application) -> sqlite3.Row:
    found = attempt.find(call.server.store.db, call.message(app).id, call.path["attempt_id"])
    if found is None:
        raise not_found()
    return found


def _endpoint_filter(call: Call, app: Application) -> str | None:
    given = call.query.get("endpoint_id")
    if given is None:
        return None
    found = find_endpoint(call.server.store.db, app.id, given)
    if found is None:
        raise not_found()
    return found.id


_APP = "/api/v1/app/{app_id}"

ROUTES = (
    Route("GET", f"{_APP}/attempt/endpoint/{{endpoint_id}}", list_by_endpoint),
    Route("GET", f"{_APP}/attempt/msg/{{msg_id}}", list_by_message),
    Route("GET", f"{_APP}/endpoint/{{endpoint_id}}/msg", list_attempted_messages),
    Route("GET", f"{_APP}/msg/{{msg_id}}/endpoint", list_attempted_destinations),
    Route("GET", f"{_APP}/msg/{{msg_id}}/attempt/{{attempt_id}}", get),
    Route("DELETE", f"{_APP}/msg/{{msg_id}}/attempt/{{attempt_id}}/content", expunge_content),
)
