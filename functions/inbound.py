"""Signed callbacks: a signature on the raw body, no API key. And what makes and mends them."""

from datetime import timedelta
from uuid import UUID

import azure.functions as func
from pydantic import Field

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import AnswerBody, Grace, ListAnswer, Moment, PageQuery, RequestBody, Words
from functions.webhooks import SecretAnswer
from shared_code.model import ReviewKind

bp = func.Blueprint()


class ReceivedAnswer(AnswerBody):
    received: bool = True
    duplicate: bool = Field(default=False, description="This message was received before, and changes nothing.")


class InboundSecretBody(RequestBody):
    grace_seconds: Grace = Field(default=86_400, description="How long the secret before still counts.")


class ReviewAnswer(AnswerBody):
    review_id: UUID
    kind: ReviewKind
    subject: str
    partner_id: UUID | None
    reason: str
    note: str | None
    resolved_by: str | None
    resolved_at: Moment | None
    created_at: Moment


class ReviewsQuery(PageQuery):
    kind: ReviewKind | None = None
    open: bool | None = Field(default=None, description="Only those that wait, or only those that are resolved.")


class ReviewsAnswer(ListAnswer):
    reviews: list[ReviewAnswer]


class ResolveBody(RequestBody):
    note: Words
    replay: bool = Field(default=False, description="Try once more what failed.")


@endpoint(
    bp,
    "POST",
    "webhooks/partner/{partner_id}",
    access=Access.SIGNED,
    tag="Inbound",
    answer=ReceivedAnswer,
    raw_body=True,
)
async def inbound_partner(call: Call) -> Reply:
    """An event that a partner sends us, signed with its inbound secret (Standard Webhooks). Stored, then worked."""
    request = call.request
    new = await call.gateway.inbound.receive(partner_id(call), request.headers, request.raw, request.origin)
    return Reply(model=ReceivedAnswer(duplicate=not new))


@endpoint(bp, "POST", "webhooks/svix", access=Access.SIGNED, tag="Inbound", answer=ReceivedAnswer, raw_body=True)
async def inbound_svix(call: Call) -> Reply:
    """Svix's operational webhooks: hints that something became of a delivery or an endpoint."""
    await call.gateway.operational.receive(call.request.headers, call.request.raw)
    return Reply(model=ReceivedAnswer())


@endpoint(
    bp,
    "POST",
    "api/partners/{partner_id}/inbound-secret",
    access=Access.KEY,
    tag="Inbound",
    body=InboundSecretBody,
    answer=SecretAnswer,
    status=201,
    once=True,
)
async def partners_inbound_secret(call: Call[InboundSecretBody]) -> Reply:
    """A secret for the partner to sign its events with, shown this once; two live while it is rotated."""
    grace = timedelta(seconds=call.body.grace_seconds)
    secret = await call.gateway.inbound.new_secret(call.caller, call.request.uuid("partner_id"), grace)
    return Reply(status=201, model=SecretAnswer(secret=secret))


@endpoint(bp, "GET", "api/reviews", access=Access.ADMIN, tag="Inbound", query=ReviewsQuery, answer=ReviewsAnswer)
async def reviews_list(call: Call[Nothing, ReviewsQuery]) -> Reply:
    """What a person must look at: exhausted deliveries, unroutable events, refused calls; each once."""
    page = call.query.page()
    found = await call.gateway.reviews.list(page, kind=call.query.kind, open=call.query.open)
    return Reply(model=ReviewsAnswer.listing("reviews", found, page, ReviewAnswer.of))


@endpoint(
    bp,
    "POST",
    "api/reviews/{review_id}/resolve",
    access=Access.ADMIN,
    tag="Inbound",
    body=ResolveBody,
    answer=ReviewAnswer,
    once=True,
)
async def reviews_resolve(call: Call[ResolveBody]) -> Reply:
    """Resolve a review with a note; with `replay`, what failed is tried once more."""
    found = await call.gateway.reviews.resolve(
        call.caller, call.request.uuid("review_id"), call.body.note, replay=call.body.replay
    )
    return Reply(model=ReviewAnswer.of(found))


def partner_id(call: Call) -> UUID | None:
    """None for what is no id: it is answered like a partner that is not there."""
    try:
        return UUID(call.path["partner_id"])
    except ValueError:
        return None
