"""Events out, and the types they may have."""

from typing import Any, Literal
from uuid import UUID

import azure.functions as func
from pydantic import Field

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import AnswerBody, EventTypeName, ListAnswer, Moment, PageQuery, RequestBody, Words
from shared_code import errors
from shared_code.services.events import EventTypeChange, NewEvent

bp = func.Blueprint()


class EventBody(RequestBody):
    event_type: EventTypeName
    payload: dict[str, Any]
    event_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="Yours, so that publishing it again changes nothing. Default: one is made.",
    )
    partner_id: UUID | Literal["*"] | None = Field(
        default=None, description='For an admin: the partner, or "*" for every active one.'
    )


class AcceptedAnswer(AnswerBody):
    event_id: str
    status: Literal["accepted"] = "accepted"


class EventTypeBody(RequestBody):
    name: str | None = Field(default=None, description="That of the path, if it is said at all.")
    description: Words = ""
    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="JSON Schema 2020-12 that every payload must meet."
    )
    example: Any = None
    deprecated: bool = False


class EventTypeAnswer(AnswerBody):
    name: str
    description: str
    schema_: dict[str, Any] | None = Field(alias="schema", serialization_alias="schema")
    example: Any
    deprecated: bool
    created_at: Moment
    updated_at: Moment


class EventTypesAnswer(ListAnswer):
    event_types: list[EventTypeAnswer]


@endpoint(
    bp,
    "POST",
    "api/events",
    access=Access.KEY,
    scope="write:events",
    tag="Webhooks and events",
    body=EventBody,
    answer=AcceptedAnswer,
    status=202,
    once=True,
)
async def events_publish(call: Call[EventBody]) -> Reply:
    """Publish an event. Accepted means stored: it is delivered even if everything stops now."""
    wanted = NewEvent(**{name: getattr(call.body, name) for name in EventBody.model_fields})
    event_id = await call.gateway.events.publish(call.caller, wanted)
    return Reply(status=202, model=AcceptedAnswer(event_id=event_id))


@endpoint(
    bp,
    "GET",
    "api/event-types",
    access=Access.KEY,
    tag="Webhooks and events",
    query=PageQuery,
    answer=EventTypesAnswer,
)
async def event_types_list(call: Call[Nothing, PageQuery]) -> Reply:
    """Every event type that can be published here."""
    page, found = call.query.page(), await call.gateway.event_types.list()
    return Reply(model=EventTypesAnswer.cut("event_types", found, page, EventTypeAnswer.of))


@endpoint(
    bp,
    "PUT",
    "api/event-types/{name}",
    access=Access.ADMIN,
    tag="Webhooks and events",
    body=EventTypeBody,
    answer=EventTypeAnswer,
)
async def event_types_put(call: Call[EventTypeBody]) -> Reply:
    """Add an event type or change it."""
    body, name = call.body, call.path["name"]
    if body.name not in (None, name):
        violation = errors.Violation(pointer="/name", detail="It is not the name in the path.")
        raise errors.InvalidBody(violations=[violation])
    wanted = EventTypeChange(
        name=name,
        description=body.description,
        schema=body.schema_,
        example=body.example,
        deprecated=body.deprecated,
    )
    return Reply(model=EventTypeAnswer.of(await call.gateway.event_types.put(call.caller, wanted)))
