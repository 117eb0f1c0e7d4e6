"""Partners: connect, read, change, move between states, remove."""

from typing import Annotated, Any
from uuid import UUID

import azure.functions as func
from pydantic import Field

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import (
    AnswerBody,
    EventTypeName,
    ListAnswer,
    Metadata,
    Moment,
    Name,
    PageQuery,
    RateLimit,
    RequestBody,
    ScopeName,
    Url,
)
from functions.webhooks import EndpointAnswer
from shared_code.model import (
    DEFAULT_RATE_LIMIT_PER_MINUTE,
    PARTNER_SCOPES,
    AuthMethod,
    EndpointState,
    PartnerMove,
    PartnerStatus,
    PartnerType,
)
from shared_code.services.partners import ConnectedPartner, NewPartner, PartnerChanges

bp = func.Blueprint()

type Credentials = Annotated[dict[str, Annotated[str, Field(min_length=1, max_length=4096)]], Field(max_length=10)]


class ConnectBody(RequestBody):
    name: Name
    type: PartnerType
    auth_method: AuthMethod
    api_endpoint: Url | None = None
    credentials: Credentials | None = Field(
        default=None,
        description="For the partner's own API. api_key: `api_key` (and `header` or `query`, its name there); "
        "bearer: `token`; basic: `username`, `password`.",
    )
    webhook_url: Url | None = Field(
        default=None, description="Default: `/webhooks/pinksync` on the origin of `api_endpoint`."
    )
    webhook_events: list[EventTypeName] = Field(default_factory=list[str], max_length=100)
    rate_limit_per_minute: RateLimit = DEFAULT_RATE_LIMIT_PER_MINUTE
    scopes: list[ScopeName] = Field(default_factory=lambda: list(PARTNER_SCOPES), min_length=1, max_length=50)
    metadata: Metadata | None = None


class PatchBody(RequestBody):
    """What is left out stays as it is; null takes the address or the credentials away."""

    name: Name | None = None
    api_endpoint: Url | None = None
    rate_limit_per_minute: RateLimit | None = None
    metadata: Metadata | None = Field(default=None, description="Merged; a member that is null is removed.")
    credentials: Credentials | None = None


class PartnerAnswer(AnswerBody):
    partner_id: UUID
    name: str
    type: PartnerType
    status: PartnerStatus
    api_endpoint: str | None
    auth_method: AuthMethod
    rate_limit_per_minute: int
    metadata: dict[str, Any]
    last_sync_at: Moment | None
    created_at: Moment
    updated_at: Moment


class ConnectedAnswer(PartnerAnswer):
    key_id: str
    api_key: str = Field(description="Shown this once.")
    scopes: list[str]
    endpoint_id: str | None
    webhook_url: str | None
    webhook_secret: str | None = Field(description="Shown this once; null when no endpoint was made.")
    webhook_status: EndpointState | None = Field(
        description="`registered`; `pending` while the webhook service is out of reach; null without an endpoint."
    )


class PartnersQuery(PageQuery):
    type: PartnerType | None = None
    status: PartnerStatus | None = None


class PartnersAnswer(ListAnswer):
    partners: list[PartnerAnswer]


class PartnerWebhooksAnswer(ListAnswer):
    webhooks: list[EndpointAnswer]


@endpoint(
    bp,
    "POST",
    "api/partners/connect",
    access=Access.ADMIN,
    tag="Partners and keys",
    body=ConnectBody,
    answer=ConnectedAnswer,
    status=201,
    once=True,
)
async def partners_connect(call: Call[ConnectBody]) -> Reply:
    """Connect a partner: makes it, its first API key and, with `webhook_events`, its webhook endpoint."""
    wanted = NewPartner(**{name: getattr(call.body, name) for name in ConnectBody.model_fields})
    made = await call.gateway.partners.connect(call.caller, wanted)

    async def settle() -> ConnectedAnswer:
        if made.webhook is None:
            return connected(made, None)
        endpoint = await call.gateway.endpoints.get(call.caller, made.webhook.endpoint.endpoint_id)
        return connected(made, endpoint.state)

    state = made.webhook.endpoint.state if made.webhook else None
    headers = {"Location": f"/api/partners/{made.partner.partner_id}"}
    return Reply(status=201, model=connected(made, state), settle=settle, headers=headers)


@endpoint(
    bp,
    "GET",
    "api/partners",
    access=Access.ADMIN,
    tag="Partners and keys",
    query=PartnersQuery,
    answer=PartnersAnswer,
)
async def partners_list(call: Call[Nothing, PartnersQuery]) -> Reply:
    """List partners, newest first, by `type` and `status`."""
    page = call.query.page()
    found = await call.gateway.partners.list(page, type=call.query.type, status=call.query.status)
    return Reply(model=PartnersAnswer.listing("partners", found, page, PartnerAnswer.of))


@endpoint(
    bp,
    "GET",
    "api/partners/{partner_id}",
    access=Access.KEY,
    tag="Partners and keys",
    answer=PartnerAnswer,
)
async def partners_get(call: Call) -> Reply:
    """One partner, for itself or an admin."""
    partner = await call.gateway.partners.get(call.caller, call.request.uuid("partner_id"))
    return Reply(model=PartnerAnswer.of(partner))


@endpoint(
    bp,
    "PATCH",
    "api/partners/{partner_id}",
    access=Access.ADMIN,
    tag="Partners and keys",
    body=PatchBody,
    answer=PartnerAnswer,
)
async def partners_patch(call: Call[PatchBody]) -> Reply:
    """Change a partner; a new limit holds from its next request on."""
    values = {name: getattr(call.body, name) for name in PatchBody.model_fields}
    changes = PartnerChanges(**values, given=call.body.model_fields_set)
    partner = await call.gateway.partners.change(call.caller, call.request.uuid("partner_id"), changes)
    return Reply(model=PartnerAnswer.of(partner))


@endpoint(
    bp,
    "POST",
    "api/partners/{partner_id}/activate",
    access=Access.ADMIN,
    tag="Partners and keys",
    answer=PartnerAnswer,
    once=True,
)
async def partners_activate(call: Call) -> Reply:
    """Activate a pending, suspended or inactive partner."""
    return await move(call, PartnerMove.ACTIVATE)


@endpoint(
    bp,
    "POST",
    "api/partners/{partner_id}/suspend",
    access=Access.ADMIN,
    tag="Partners and keys",
    answer=PartnerAnswer,
    once=True,
)
async def partners_suspend(call: Call) -> Reply:
    """Suspend a partner: its keys answer 403 at once, everywhere."""
    return await move(call, PartnerMove.SUSPEND)


@endpoint(
    bp,
    "POST",
    "api/partners/{partner_id}/deactivate",
    access=Access.ADMIN,
    tag="Partners and keys",
    answer=PartnerAnswer,
    once=True,
)
async def partners_deactivate(call: Call) -> Reply:
    """Deactivate a partner until it is activated again."""
    return await move(call, PartnerMove.DEACTIVATE)


async def move(call: Call, wanted: PartnerMove) -> Reply:
    partner = await call.gateway.partners.move(call.caller, call.request.uuid("partner_id"), wanted)
    return Reply(model=PartnerAnswer.of(partner))


@endpoint(
    bp,
    "DELETE",
    "api/partners/{partner_id}",
    access=Access.ADMIN,
    tag="Partners and keys",
    status=204,
)
async def partners_remove(call: Call) -> Reply:
    """Remove a partner: its keys are dead at once and its webhooks stop; the row stays, inactive."""
    await call.gateway.partners.remove(call.caller, call.request.uuid("partner_id"))
    return Reply(status=204)


@endpoint(
    bp,
    "GET",
    "api/partners/{partner_id}/webhooks",
    access=Access.KEY,
    tag="Webhooks and events",
    query=PageQuery,
    answer=PartnerWebhooksAnswer,
)
async def partners_webhooks(call: Call[Nothing, PageQuery]) -> Reply:
    """The partner's webhook endpoints."""
    page = call.query.page()
    found = await call.gateway.partners.webhooks(call.caller, call.request.uuid("partner_id"), page)
    return Reply(model=PartnerWebhooksAnswer.listing("webhooks", found, page, EndpointAnswer.of))


def connected(made: ConnectedPartner, state: EndpointState | None) -> ConnectedAnswer:
    endpoint = made.webhook.endpoint if made.webhook else None
    return ConnectedAnswer(
        **PartnerAnswer.of(made.partner).model_dump(),
        key_id=made.key.row.key_id,
        api_key=made.key.api_key,
        scopes=list(made.key.row.scopes),
        endpoint_id=endpoint.endpoint_id if endpoint else None,
        webhook_url=endpoint.url if endpoint else None,
        webhook_secret=made.webhook.secret if made.webhook else None,
        webhook_status=state,
    )
