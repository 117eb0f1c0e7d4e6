"""Webhook endpoints and the delivery log."""

from typing import Annotated, Any
from uuid import UUID

import azure.functions as func
from pydantic import Field

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import AnswerBody, EventTypeName, ListAnswer, Moment, PeriodQuery, RequestBody, Url, Words
from shared_code.model import DeliveryStatus, EndpointState
from shared_code.ports import DeliveryFilter
from shared_code.services.deliveries import DeliveryReport
from shared_code.services.endpoints import NewEndpoint, OpenedEndpoint

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


class RegisteredAnswer(EndpointAnswer):
    secret: str = Field(description="Signs what is sent to this endpoint. Shown this once.")


class DeliveriesQuery(PeriodQuery):
    status: DeliveryStatus | None = None
    event_type: EventTypeName | None = None
    endpoint_id: str | None = Field(default=None, max_length=64)
    event_id: str | None = Field(default=None, max_length=128)
    partner_id: UUID | None = Field(default=None, description="For an admin: only this partner's.")


class DeliveryAnswer(AnswerBody):
    id: UUID
    partner_id: UUID
    event_id: str
    event_type: str
    endpoint_id: str
    status: DeliveryStatus
    response_code: int | None
    attempt_count: int
    max_attempts: int
    next_retry_at: Moment | None
    delivered_at: Moment | None
    created_at: Moment


class AttemptAnswer(AnswerBody):
    at: Moment
    response_code: int | None
    response_body: str
    duration_ms: int
    error: str | None


class DeliveryReportAnswer(DeliveryAnswer):
    payload: dict[str, Any]
    attempts: list[AttemptAnswer]


class DeliveriesAnswer(ListAnswer):
    deliveries: list[DeliveryAnswer]


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
    "api/webhooks/deliveries",
    access=Access.KEY,
    tag="Webhooks and events",
    query=DeliveriesQuery,
    answer=DeliveriesAnswer,
)
async def webhooks_deliveries(call: Call[Nothing, DeliveriesQuery]) -> Reply:
    """The delivery log, newest first: one row per event and endpoint, with what became of it."""
    query, page = call.query, call.query.page()
    wanted = DeliveryFilter(
        partner_id=call.caller.reach(query.partner_id) if query.partner_id else call.caller.own(),
        status=query.status,
        event_type=query.event_type,
        endpoint_id=query.endpoint_id,
        event_id=query.event_id,
        since=query.since,
        until=query.until,
    )
    found = await call.gateway.deliveries.list(wanted, page)
    return Reply(model=DeliveriesAnswer.listing("deliveries", found, page, DeliveryAnswer.of))


@endpoint(
    bp,
    "GET",
    "api/webhooks/deliveries/{delivery_id}",
    access=Access.KEY,
    tag="Webhooks and events",
    answer=DeliveryReportAnswer,
)
async def webhooks_delivery(call: Call) -> Reply:
    """One delivery with its payload and every attempt."""
    report = await call.gateway.deliveries.get(call.caller, call.request.uuid("delivery_id"))
    return Reply(model=reported(report))


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


def reported(report: DeliveryReport) -> DeliveryReportAnswer:
    return DeliveryReportAnswer(
        **DeliveryAnswer.of(report.delivery).model_dump(),
        payload=dict(report.payload),
        attempts=[AttemptAnswer.of(attempt) for attempt in report.attempts],
    )
