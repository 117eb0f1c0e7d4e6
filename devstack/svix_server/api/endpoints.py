"""/app/{app_id}/endpoint (facts/svix.md §1, and §2 Endpoint rules)."""

from dataclasses import replace

from pydantic import AliasChoices, Field

from devstack.svix_server import clock, endpoint, event_type, ids
from devstack.svix_server.api.bodies import (
    Body,
    EndpointChannels,
    EndpointUid,
    EndpointUrl,
    EventTypeNames,
    Metadata,
    Secret,
    Text,
    ThrottleRate,
)
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.api.header_rules import Headers
from devstack.svix_server.api.queries import page
from devstack.svix_server.application import Application
from devstack.svix_server.endpoint import Endpoint
from devstack.svix_server.reply import NO_CONTENT, Reply
from devstack.svix_server.signing import generate_secret

# Servers before v1.99.0 called it filterTypes; today's take both.
_EVENT_TYPES = AliasChoices("eventTypes", "filterTypes")


class EndpointUpsertIn(Body):
    """What is absent is cleared, and an absent `disabled` enables."""

    url: EndpointUrl
    description: Text = ""
    uid: EndpointUid | None = None
    disabled: bool = False
    event_types: EventTypeNames | None = Field(default=None, validation_alias=_EVENT_TYPES)
    channels: EndpointChannels | None = None
    throttle_rate: ThrottleRate | None = None
    metadata: Metadata = Field(default_factory=dict)


class EndpointIn(EndpointUpsertIn):
    """`headers` is the cloud's; svix-server ignores it."""

    secret: Secret | None = None
    headers: Headers = Field(default_factory=dict)


class EndpointPatch(Body):
    """A null clears uid, throttleRate, eventTypes and channels."""

    url: EndpointUrl = ""
    description: Text = ""
    uid: EndpointUid | None = None
    disabled: bool = False
    event_types: EventTypeNames | None = Field(default=None, validation_alias=_EVENT_TYPES)
    channels: EndpointChannels | None = None
    throttle_rate: ThrottleRate | None = None
    metadata: Metadata = Field(default_factory=dict)


def create(call: Call) -> Reply:
    app = call.application()
    given = call.read(EndpointIn)
    event_type.refuse_unknown(call.server.store.db, app.org_id, given.event_types or ())
    return Reply.json(insert(call, app, given).out(), 201)


def listed(call: Call) -> Reply:
    app, asked = call.application(), page(call.query, ids.ENDPOINT)
    return Reply.json(endpoint.page(call.server.store.db, app.id, asked))


def get(call: Call) -> Reply:
    return Reply.json(call.endpoint(call.application()).out())


def upsert(call: Call) -> Reply:
    """The path does not become the uid of a new endpoint."""
    app, given = call.application(), call.read(EndpointUpsertIn)
    event_type.refuse_unknown(call.server.store.db, app.org_id, given.event_types or ())
    return save_or_insert(call, app, given)


def patch(call: Call) -> Reply:
    app, given = call.application(), call.read(EndpointPatch)
    event_type.refuse_unknown(call.server.store.db, app.org_id, given.event_types or ())
    changed = replace(call.endpoint(app).touched(), **given.model_dump(exclude_unset=True))
    endpoint.save(call.server.store.db, changed)
    tell(call, app, changed, "endpoint.updated")
    return Reply.json(changed.out())


def delete(call: Call) -> Reply:
    app = call.application()
    known = call.endpoint(app)
    endpoint.delete(call.server.store.db, known)
    tell(call, app, known, "endpoint.deleted")
    return NO_CONTENT


def save_or_insert(call: Call, app: Application, given: EndpointUpsertIn) -> Reply:
    known = endpoint.find(call.server.store.db, app.id, call.path["endpoint_id"])
    if known is None:
        made = insert(call, app, EndpointIn.model_construct(**given.model_dump(), secret=None, headers={}))
        return Reply.json(made.out(), 201)
    changed = replace(known.touched(), **given.model_dump())
    endpoint.save(call.server.store.db, changed)
    tell(call, app, changed, "endpoint.updated")
    return Reply.json(changed.out())


def insert(call: Call, app: Application, given: EndpointIn) -> Endpoint:
    now = clock.now()
    made = Endpoint(
        id=ids.new_id(ids.ENDPOINT, now),
        app_id=app.id,
        key=given.secret or generate_secret(),
        created_at=now,
        updated_at=now,
        **given.model_dump(exclude={"secret"}),
    )
    endpoint.save(call.server.store.db, made)
    tell(call, app, made, "endpoint.created")
    return made


def tell(call: Call, app: Application, about: Endpoint, kind: str) -> None:
    """The operational webhook (facts/svix.md §3)."""
    data = {"appId": app.id, "appUid": app.uid, "endpointId": about.id, "endpointUid": about.uid}
    call.server.operational.send(app.org_id, kind, dict(data))


ROUTES = (
    Route("POST", "/api/v1/app/{app_id}/endpoint", create),
    Route("GET", "/api/v1/app/{app_id}/endpoint", listed),
    Route("GET", "/api/v1/app/{app_id}/endpoint/{endpoint_id}", get),
    Route("PUT", "/api/v1/app/{app_id}/endpoint/{endpoint_id}", upsert),
    Route("PATCH", "/api/v1/app/{app_id}/endpoint/{endpoint_id}", patch),
    Route("DELETE", "/api/v1/app/{app_id}/endpoint/{endpoint_id}", delete),
)
