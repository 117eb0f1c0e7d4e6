"""/event-type (facts/svix.md §1)."""

from dataclasses import replace
from typing import Annotated, Any

from jsonschema import SchemaError
from jsonschema.validators import Draft7Validator, validator_for
from pydantic import AfterValidator

from devstack.svix_server import clock, event_type
from devstack.svix_server.api.bodies import Body, EventTypeName, Text, limited
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.api.queries import flag, page
from devstack.svix_server.errors import Flaw, conflict, not_found, unprocessable
from devstack.svix_server.event_type import EventType
from devstack.svix_server.reply import NO_CONTENT, Reply


def _are_schemas(schemas: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    for schema in schemas.values():
        try:
            validator_for(schema, default=Draft7Validator).check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"Invalid JSON schema: {error.message}") from None
    return schemas


Schemas = Annotated[dict[str, dict[str, Any]], AfterValidator(_are_schemas)]


class EventTypeUpsertIn(Body):
    description: Text
    archived: bool = False
    deprecated: bool = False
    schemas: Schemas | None = None


class EventTypeIn(EventTypeUpsertIn):
    name: EventTypeName


class EventTypePatch(Body):
    """A null clears the schemas."""

    description: Text = ""
    archived: bool = False
    deprecated: bool = False
    schemas: Schemas | None = None


def create(call: Call) -> Reply:
    """An archived one is un-archived, with what is given now."""
    org_id, given = call.organization(), call.read(EventTypeIn)
    known = event_type.find(call.server.store.db, org_id, given.name)
    if known is not None and not known.archived:
        raise conflict("An event_type with this name already exists", "event_type_exists")
    made = replace(known.touched(), **given.model_dump()) if known else _new(org_id, given.model_dump())
    event_type.save(call.server.store.db, made)
    return Reply.json(made.out(), 201)


def listed(call: Call) -> Reply:
    """By name, ascending only; an application token may."""
    org_id = call.permissions().org_id
    asked = replace(page(call.query, None), ascending=True)
    archived = flag(call.query, "include_archived", False)
    with_content = flag(call.query, "with_content", False)
    return Reply.json(
        event_type.page(call.server.store.db, org_id, asked, archived=archived, with_content=with_content)
    )


def get(call: Call) -> Reply:
    return Reply.json(_known(call, call.permissions().org_id).out())


def upsert(call: Call) -> Reply:
    org_id, given = call.organization(), call.read(EventTypeUpsertIn).model_dump()
    name = _name(call)
    known = event_type.find(call.server.store.db, org_id, name)
    made = _new(org_id, given | {"name": name}) if known is None else replace(known.touched(), **given)
    event_type.save(call.server.store.db, made)
    return Reply.json(made.out(), 201 if known is None else 200)


def patch(call: Call) -> Reply:
    known = _known(call, call.organization())
    changed = replace(known.touched(), **call.read(EventTypePatch).model_dump(exclude_unset=True))
    event_type.save(call.server.store.db, changed)
    return Reply.json(changed.out())


def delete(call: Call) -> Reply:
    """Archives; removes for good with `expunge`."""
    known = _known(call, call.organization())
    if flag(call.query, "expunge", False):
        event_type.expunge(call.server.store.db, known)
    else:
        event_type.save(call.server.store.db, replace(known.touched(), archived=True))
    return NO_CONTENT


def _new(org_id: str, fields: dict[str, Any]) -> EventType:
    now = clock.now()
    return EventType(org_id=org_id, created_at=now, updated_at=now, **fields)


def _known(call: Call, org_id: str) -> EventType:
    found = event_type.find(call.server.store.db, org_id, _name(call))
    if found is None:
        raise not_found()
    return found


def _name(call: Call) -> str:
    try:
        return limited(call.path["event_type_name"])
    except ValueError as error:
        raise unprocessable(Flaw(("path", "event_type_name"), str(error))) from None


ROUTES = (
    Route("POST", "/api/v1/event-type", create),
    Route("GET", "/api/v1/event-type", listed),
    Route("GET", "/api/v1/event-type/{event_type_name}", get),
    Route("PUT", "/api/v1/event-type/{event_type_name}", upsert),
    Route("PATCH", "/api/v1/event-type/{event_type_name}", patch),
    Route("DELETE", "/api/v1/event-type/{event_type_name}", delete),
)
