"""/app (facts/svix.md §1)."""

from dataclasses import replace

from pydantic import Field

from devstack.svix_server import application, clock, ids
from devstack.svix_server.api.bodies import ApplicationUid, Body, Metadata, Name, ThrottleRate
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.api.queries import flag, page
from devstack.svix_server.application import Application
from devstack.svix_server.errors import Flaw, unprocessable
from devstack.svix_server.reply import NO_CONTENT, Reply


class ApplicationIn(Body):
    name: Name
    uid: ApplicationUid | None = None
    throttle_rate: ThrottleRate | None = None
    metadata: Metadata = Field(default_factory=dict)


class ApplicationPatch(Body):
    """A null clears uid and throttleRate."""

    name: Name = ""
    uid: ApplicationUid | None = None
    throttle_rate: ThrottleRate | None = None
    metadata: Metadata = Field(default_factory=dict)


def create(call: Call) -> Reply:
    """With `get_if_exists` a taken uid gives the stored application, unchanged."""
    org_id, given = call.organization(), call.read(ApplicationIn)
    if flag(call.query, "get_if_exists", False) and given.uid is not None:
        known = application.find(call.server.store.db, org_id, given.uid)
        if known is not None:
            return Reply.json(known.out())
    return Reply.json(insert(call, org_id, given).out(), 201)


def listed(call: Call) -> Reply:
    asked = page(call.query, ids.APP, ascending=True)
    return Reply.json(application.page(call.server.store.db, call.organization(), asked))


def get(call: Call) -> Reply:
    return Reply.json(call.application().out())


def upsert(call: Call) -> Reply:
    """The path does not become the uid of a new application."""
    org_id, given = call.organization(), call.read(ApplicationIn)
    known = application.find(call.server.store.db, org_id, call.path["app_id"])
    if known is None:
        return Reply.json(insert(call, org_id, given).out(), 201)
    changed = replace(known.touched(), **given.model_dump())
    application.update(call.server.store.db, changed)
    return Reply.json(changed.out())


def patch(call: Call) -> Reply:
    known = call.own_application()
    changed = replace(known.touched(), **call.read(ApplicationPatch).model_dump(exclude_unset=True))
    application.update(call.server.store.db, changed)
    return Reply.json(changed.out())


def delete(call: Call) -> Reply:
    application.delete(call.server.store.db, call.own_application())
    return NO_CONTENT


def insert(call: Call, org_id: str, given: ApplicationIn) -> Application:
    now = clock.now()
    made = Application(id=ids.new_id(ids.APP, now), org_id=org_id, created_at=now, updated_at=now, **given.model_dump())
    application.insert(call.server.store.db, made)
    return made


def find_or_create(call: Call, given: ApplicationIn | None) -> Application | None:
    """For calls that may bring the application they name along."""
    org_id = call.organization()
    known = application.find(call.server.store.db, org_id, call.path["app_id"])
    if known is not None or given is None:
        return known
    loc = ("body", "application", "uid")
    if given.uid is None:
        raise unprocessable(Flaw(loc, "Application UID not set in body", "application_uid_missing"))
    if given.uid != call.path["app_id"]:
        detail = "Application UID in the path and body must match"
        raise unprocessable(Flaw(loc, detail, "application_uid_mismatch"))
    return insert(call, org_id, given)


ROUTES = (
    Route("POST", "/api/v1/app", create),
    Route("GET", "/api/v1/app", listed),
    Route("GET", "/api/v1/app/{app_id}", get),
    Route("PUT", "/api/v1/app/{app_id}", upsert),
    Route("PATCH", "/api/v1/app/{app_id}", patch),
    Route("DELETE", "/api/v1/app/{app_id}", delete),
)
