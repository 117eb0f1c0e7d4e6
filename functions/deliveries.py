"""The delivery log: what became of every event at every endpoint."""

from typing import Any, Literal
from uuid import UUID

import azure.functions as func
from pydantic import AwareDatetime, Field

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


class RetryManyBody(RequestBody):
    status: Literal["failed", "skipped"] | None = Field(default=None, description="Default: both.")
    endpoint_id: str | None = Field(default=None, max_length=64)
    event_id: str | None = Field(default=None, max_length=128)
    since: AwareDatetime | None = Field(default=None, description="Not before this time (RFC 3339).")
    until: AwareDatetime | None = Field(default=None, description="Before this time (RFC 3339).")
    partner_id: UUID | None = Field(default=None, description="For an admin: only this partner's.")


class RetriedAnswer(AnswerBody):
    count: int = Field(description="How many are sent once more; at most 10,000, the oldest first.")


@endpoint(
    bp,
    "POST",
    "api/webhooks/deliveries/retry",
    access=Access.KEY,
    tag="Webhooks and events",
    body=RetryManyBody,
    answer=RetriedAnswer,
    status=202,
    once=True,
)
async def webhooks_deliveries_retry(call: Call[RetryManyBody]) -> Reply:
    """Send many once more: the failed and skipped ones that still have a payload and an enabled endpoint."""
    body = call.body
    wanted = DeliveryFilter(
        partner_id=call.caller.reach(body.partner_id) if body.partner_id else call.caller.own(),
        status=DeliveryStatus(body.status) if body.status else None,
        endpoint_id=body.endpoint_id,
        event_id=body.event_id,
        since=body.since,
        until=body.until,
    )
    return Reply(status=202, model=RetriedAnswer(count=await call.gateway.deliveries.retry_many(call.caller, wanted)))


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
