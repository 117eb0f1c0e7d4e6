"""The delivery log: what became of every event at every endpoint."""

from typing import Any
from uuid import UUID

import azure.functions as func
from pydantic import Field

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import AnswerBody, EventTypeName, ListAnswer, Moment, PeriodQuery, RequestBody
from shared_code.model import DeliveryStatus
from shared_code.ports import DeliveryFilter
from shared_code.services.deliveries import DeliveryReport

bp = func.Blueprint()


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
    payload: dict[str, Any] | None = Field(description="Null when it was cleared after its time.")
    attempts: list[AttemptAnswer]


class DeliveriesAnswer(ListAnswer):
    deliveries: list[DeliveryAnswer]


class RetryBody(RequestBody):
    force: bool = Field(default=False, description="Send it although it was delivered.")


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
    "POST",
    "api/webhooks/deliveries/{delivery_id}/retry",
    access=Access.KEY,
    tag="Webhooks and events",
    body=RetryBody,
    answer=DeliveryAnswer,
    status=202,
    once=True,
)
async def webhooks_delivery_retry(call: Call[RetryBody]) -> Reply:
    """Send a delivery once more; a delivered one only with `force`."""
    delivery_id = call.request.uuid("delivery_id")
    await call.gateway.deliveries.retry(call.caller, delivery_id, force=call.body.force)
    report = await call.gateway.deliveries.get(call.caller, delivery_id)
    return Reply(status=202, model=DeliveryAnswer.of(report.delivery))


def reported(report: DeliveryReport) -> DeliveryReportAnswer:
    return DeliveryReportAnswer(
        **DeliveryAnswer.of(report.delivery).model_dump(),
        payload=dict(report.payload) if report.payload is not None else None,
        attempts=[AttemptAnswer.of(attempt) for attempt in report.attempts],
    )
