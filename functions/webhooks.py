"""Webhook endpoints: registered, changed, tried, recovered."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import azure.functions as func
from pydantic import AwareDatetime, Field

from functions.http import Access, Call, Reply, endpoint
from functions.schemas import AnswerBody, EventTypeName, Grace, Moment, RequestBody, Url, Words
from shared_code import errors
from shared_code.model import EndpointState
from shared_code.services.endpoints import EndpointChanges, NewEndpoint, OpenedEndpoint

bp = func.Blueprint()

type EventTypeNames = Annotated[list[EventTypeName], Field(min_length=1, max_length=100)]


class RegisterBody(RequestBody):
    url: Url
    events: EventTypeNames
    description: Words = ""
    partner_id: UUID | None = Field(default=None, description="For an admin: the partner whose endpoint it is.")


class EndpointAnswer(AnswerBody):
    endpoint_id: str
    url: str
    events: list[str]
    enabled: bool
    description: str
    state: EndpointState = Field(description="`pending` until the webhook service knows the endpoint.")
    created_at: Moment


class ChangeBody(RequestBody):
    url: Url | None = None
    events: EventTypeNames | None = None
    description: Words | None = None
    enabled: bool | None = Field(default=None, description="What is published meanwhile is skipped, and recoverable.")


class RotateSecretBody(RequestBody):
    grace_seconds: Grace = Field(default=86_400, description="How long the old secret signs too: 0 to 7 days.")


class TestBody(RequestBody):
    event_type: EventTypeName | None = Field(default=None, description="Default: the first one of the endpoint.")


class RecoverBody(RequestBody):
    since: AwareDatetime
    until: AwareDatetime | None = Field(default=None, description="Default: now.")
    dry_run: bool = Field(default=False, description="Only count.")


class SecretAnswer(AnswerBody):
    secret: str = Field(description="Shown this once.")


class TestedAnswer(AnswerBody):
    event_type: str
    status: Literal["sent"] = "sent"


class RecoveredAnswer(AnswerBody):
    count: int = Field(description="Failed and skipped deliveries that are sent again, or would be.")


class RegisteredAnswer(EndpointAnswer):
    secret: str = Field(description="Signs what is sent to this endpoint. Shown this once.")


@endpoint(
    bp,
    "POST",
    "api/webhooks/register",
    access=Access.KEY,
    tag="Webhooks and events",
    body=RegisterBody,
    answer=RegisteredAnswer,
    status=201,
    once=True,
)
async def webhooks_register(call: Call[RegisterBody]) -> Reply:
    """Register a URL for events. The answer holds the signing secret, this once."""
    wanted = NewEndpoint(url=call.body.url, events=call.body.events, description=call.body.description)
    made = await call.gateway.endpoints.register(call.caller, wanted, call.body.partner_id)

    async def settle() -> RegisteredAnswer:
        endpoint = await call.gateway.endpoints.get(call.caller, made.endpoint.endpoint_id)
        return registered(made).model_copy(update={"state": endpoint.state})

    return Reply(status=201, model=registered(made), settle=settle)


@endpoint(
    bp,
    "GET",
    "api/webhooks/{endpoint_id}",
    access=Access.KEY,
    tag="Webhooks and events",
    answer=EndpointAnswer,
)
async def webhooks_get(call: Call) -> Reply:
    """One webhook endpoint."""
    return Reply(model=EndpointAnswer.of(await call.gateway.endpoints.get(call.caller, call.path["endpoint_id"])))


def registered(made: OpenedEndpoint) -> RegisteredAnswer:
    return RegisteredAnswer(**EndpointAnswer.of(made.endpoint).model_dump(), secret=made.secret)


@endpoint(
    bp,
    "PATCH",
    "api/webhooks/{endpoint_id}",
    access=Access.KEY,
    tag="Webhooks and events",
    body=ChangeBody,
    answer=EndpointAnswer,
)
async def webhooks_patch(call: Call[ChangeBody]) -> Reply:
    """Change an endpoint, or switch it off and on."""
    changes = EndpointChanges(**{name: getattr(call.body, name) for name in ChangeBody.model_fields})
    return Reply(model=EndpointAnswer.of(await call.gateway.endpoints.change(call.caller, endpoint_id(call), changes)))


@endpoint(bp, "DELETE", "api/webhooks/{endpoint_id}", access=Access.KEY, tag="Webhooks and events", status=204)
async def webhooks_remove(call: Call) -> Reply:
    """Remove an endpoint; its delivery log stays."""
    await call.gateway.endpoints.remove(call.caller, endpoint_id(call))
    return Reply(status=204)


@endpoint(
    bp,
    "POST",
    "api/webhooks/{endpoint_id}/rotate-secret",
    access=Access.KEY,
    tag="Webhooks and events",
    body=RotateSecretBody,
    answer=SecretAnswer,
    once=True,
)
async def webhooks_rotate_secret(call: Call[RotateSecretBody]) -> Reply:
    """Replace the signing secret; until the grace ends what is sent has both signatures."""
    grace = timedelta(seconds=call.body.grace_seconds)
    secret = await call.gateway.endpoints.rotate_secret(call.caller, endpoint_id(call), grace)
    return Reply(model=SecretAnswer(secret=secret))


@endpoint(
    bp,
    "POST",
    "api/webhooks/{endpoint_id}/test",
    access=Access.KEY,
    tag="Webhooks and events",
    body=TestBody,
    answer=TestedAnswer,
    status=202,
    once=True,
    costly=30,
)
async def webhooks_test(call: Call[TestBody]) -> Reply:
    """Send an example event to this endpoint alone."""
    sent = await call.gateway.endpoints.send_test(call.caller, endpoint_id(call), call.body.event_type)
    return Reply(status=202, model=TestedAnswer(event_type=sent))


@endpoint(
    bp,
    "POST",
    "api/webhooks/{endpoint_id}/recover",
    access=Access.KEY,
    tag="Webhooks and events",
    body=RecoverBody,
    answer=RecoveredAnswer,
    status=202,
    once=True,
    costly=30,
)
async def webhooks_recover(call: Call[RecoverBody]) -> Reply:
    """Send again what failed or was skipped since a time, 10,000 deliveries at most."""
    endpoint = await call.gateway.endpoints.get(call.caller, endpoint_id(call))
    until = call.body.until or datetime.now(UTC)
    if until <= call.body.since:
        raise errors.InvalidBody(violations=[errors.Violation(pointer="/until", detail="Must be after `since`.")])
    if not endpoint.enabled and not call.body.dry_run:
        raise errors.Conflict("The endpoint is disabled; enable it first.")
    count = await call.gateway.deliveries.recover(call.caller, endpoint, call.body.since, until, dry=call.body.dry_run)
    return Reply(status=202, model=RecoveredAnswer(count=count))


def endpoint_id(call: Call[Any, Any]) -> str:
    return call.path["endpoint_id"]
