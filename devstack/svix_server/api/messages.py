"""/app/{app_id}/msg (facts/svix.md §1, and §2 Exact bytes)."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from devstack.svix_server import ids, message
from devstack.svix_server.api.applications import ApplicationIn, find_or_create
from devstack.svix_server.api.bodies import Body, EventId, EventTypeName, MessageChannels, wrong_body
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.api.queries import flag, message_filter, page
from devstack.svix_server.errors import ApiError, Flaw, not_found, unprocessable
from devstack.svix_server.fanout import DEFAULT_RETENTION_DAYS, NewMessage
from devstack.svix_server.raw_json import Member, members
from devstack.svix_server.reply import NO_CONTENT, Reply


class TransformationsParams(Body):
    raw_payload: str | None = None
    headers: dict[str, str] | None = None
    """Go out with each webhook of the message, as the SDK's own `message_in_raw` relies on."""


class MessageIn(Body):
    """Without the payload, which is never parsed and written again."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", strict=False)

    event_type: EventTypeName
    event_id: EventId | None = None
    channels: MessageChannels | None = None
    payload_retention_period: Annotated[int, Field(ge=5, le=90)] = DEFAULT_RETENTION_DAYS
    application: ApplicationIn | None = None
    transformations_params: TransformationsParams | None = None


def create(call: Call) -> Reply:
    """202 means stored: it will be delivered even if this process dies now."""
    call.organization()
    with_content = flag(call.query, "with_content", True)
    given, payload = _message_in(call.body)
    app = find_or_create(call, given.application)
    if app is None:
        raise application_not_found()
    new = NewMessage(
        event_type=given.event_type,
        payload=payload,
        event_id=given.event_id,
        channels=given.channels,
        retention_days=given.payload_retention_period,
        headers=(given.transformations_params and given.transformations_params.headers) or {},
    )
    return Reply.json(call.server.fanout.accept(app.id, new).out(with_content=with_content), 202)


def listed(call: Call) -> Reply:
    app, asked = call.application(), page(call.query, ids.MESSAGE)
    with_content = flag(call.query, "with_content", True)
    filters = message_filter(call.query)
    return Reply.json(message.page(call.server.store.db, app.id, asked, filters, with_content=with_content))


def get(call: Call) -> Reply:
    known = call.message(call.application())
    return Reply.json(known.out(with_content=flag(call.query, "with_content", True)))


def expunge_content(call: Call) -> Reply:
    message.expunge(call.server.store.db, call.message(call.own_application()))
    return NO_CONTENT


def application_not_found() -> ApiError:
    return not_found("Application not found")


def _message_in(body: bytes) -> tuple[MessageIn, bytes]:
    found = _members(body)
    fields = {name: member.value for name, member in found.items() if name not in ("payload", "data")}
    given = _validated(fields)
    payload = _payload(found)
    if given.transformations_params is not None and given.transformations_params.raw_payload is not None:
        return given, _encoded(given.transformations_params.raw_payload)
    return given, _encoded(payload.raw)


def _members(body: bytes) -> dict[str, Member]:
    try:
        return members(body.decode())
    except ValueError as error:
        raise unprocessable(Flaw(("body",), str(error), "value_error.jsondecode")) from None


def _validated(fields: dict[str, Any]) -> MessageIn:
    try:
        return MessageIn.model_validate(fields)
    except ValidationError as error:
        raise wrong_body(error) from None


def _payload(found: dict[str, Member]) -> Member:
    payload = found.get("payload") or found.get("data")
    if payload is None:
        raise unprocessable(Flaw(("body", "payload"), "missing field `payload`", "value_error.jsondecode"))
    if not payload.raw.startswith("{"):
        raise unprocessable(Flaw(("body", "payload"), "Payload must be an object."))
    return payload


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise unprocessable(Flaw(("body", "payload"), str(error), "value_error.jsondecode")) from None


ROUTES = (
    Route("POST", "/api/v1/app/{app_id}/msg", create),
    Route("GET", "/api/v1/app/{app_id}/msg", listed),
    Route("GET", "/api/v1/app/{app_id}/msg/{msg_id}", get),
    Route("DELETE", "/api/v1/app/{app_id}/msg/{msg_id}/content", expunge_content),
)
