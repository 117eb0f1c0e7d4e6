"""Connecting partners by OAuth: settings, links, the browser's way there and back, and how the connection stands."""

from http.cookies import CookieError, SimpleCookie
from typing import Annotated
from uuid import UUID

import azure.functions as func
from pydantic import BaseModel, Field, StringConstraints

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.pages import HTML, PRIVATE, page
from functions.request import Incoming
from functions.schemas import AnswerBody, Moment, RequestBody, Url
from shared_code import errors
from shared_code.model import ClientAuth, ConnectionStatus, OAuthGrant
from shared_code.services.oauth import Departure, Return
from shared_code.services.oauth_refusals import EXPLAINED, Refusal, visitor
from shared_code.services.oauth_settings import NewProvider

bp = func.Blueprint()

TAG = "OAuth connections"
COOKIE = "__Host-pinksync_oauth"
COOKIE_SECONDS = 600

type Scope = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]
type ClientWord = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[\x20-\x7e]+$")]


class ProviderBody(RequestBody):
    grant: OAuthGrant
    authorize_url: Url | None = Field(default=None, description="Needed with `authorization_code`.")
    token_url: Url
    revoke_url: Url | None = None
    issuer: Url | None = Field(
        default=None, description="What `iss` must be when it is sent. Default: any of authorize_url's origin."
    )
    client_id: ClientWord
    client_secret: ClientWord
    client_auth: ClientAuth = ClientAuth.BASIC
    scopes: list[Scope] = Field(default_factory=list[str], max_length=100)


class ProviderAnswer(AnswerBody):
    """Without the client's secret, which is never shown."""

    partner_id: UUID
    grant: OAuthGrant
    authorize_url: str | None
    token_url: str
    revoke_url: str | None
    issuer: str | None
    client_id: str
    client_auth: ClientAuth
    scopes: list[str]
    created_at: Moment
    updated_at: Moment


class LinkAnswer(AnswerBody):
    url: str = Field(description="For the browser of whoever may grant the access. Works once; shown this once.")
    expires_at: Moment


class ConnectionAnswer(AnswerBody):
    status: ConnectionStatus
    scopes: list[str]
    expires_at: Moment | None
    refreshed_at: Moment | None


class AuthorizeQuery(BaseModel):
    link: str | None = None


class CallbackQuery(BaseModel):
    state: str | None = None
    code: str | None = None
    iss: str | None = None
    error: str | None = None


@endpoint(
    bp,
    "PUT",
    "api/partners/{partner_id}/oauth",
    access=Access.ADMIN,
    tag=TAG,
    body=ProviderBody,
    answer=ProviderAnswer,
)
async def oauth_settings(call: Call[ProviderBody]) -> Reply:
    """Say how a partner is connected by OAuth. With `client_credentials` it is connected at once."""
    wanted = NewProvider(**{name: getattr(call.body, name) for name in ProviderBody.model_fields})
    provider = await call.gateway.connections.put(call.caller, call.request.uuid("partner_id"), wanted)
    return Reply(model=ProviderAnswer.of(provider))


@endpoint(
    bp,
    "POST",
    "api/partners/{partner_id}/connect-link",
    access=Access.ADMIN,
    tag=TAG,
    answer=LinkAnswer,
    status=201,
    once=True,
)
async def oauth_link(call: Call) -> Reply:
    """Make a link that connects the partner: for one use, within 30 minutes."""
    link = await call.gateway.oauth.link(call.caller, call.request.uuid("partner_id"))
    return Reply(status=201, model=LinkAnswer.of(link))


@endpoint(
    bp,
    "GET",
    "oauth/authorize/{partner_id}",
    access=Access.OPEN,
    tag=TAG,
    query=AuthorizeQuery,
    status=302,
    content_type=HTML,
    page=True,
)
async def oauth_authorize(call: Call[Nothing, AuthorizeQuery]) -> Reply:
    """Begin here in a browser, with a link: on to the partner's server."""
    caller = visitor(call.request.origin)
    departure = await call.gateway.oauth.depart(caller, partner_in(call.request), call.query.link)
    if not isinstance(departure, Departure):
        return turned_away(departure)
    cookie = f"{COOKIE}={departure.cookie}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={COOKIE_SECONDS}"
    return Reply(status=302, headers={**PRIVATE, "Location": departure.url, "Set-Cookie": cookie})


@endpoint(bp, "GET", "oauth/callback", access=Access.OPEN, tag=TAG, query=CallbackQuery, content_type=HTML, page=True)
async def oauth_callback(call: Call[Nothing, CallbackQuery]) -> Reply:
    """Where the partner's server sends the browser back to."""
    query = call.query
    back = Return(
        state=query.state, code=query.code, error=query.error, issuer=query.iss, cookie=cookie_of(call.request)
    )
    refusal = await call.gateway.oauth.arrive(visitor(call.request.origin), back)
    if refusal:
        return turned_away(refusal)
    return page("Authorization successful", "The partner is connected. You can close this window.")


@endpoint(bp, "GET", "api/partners/{partner_id}/connection", access=Access.KEY, tag=TAG, answer=ConnectionAnswer)
async def connection_get(call: Call) -> Reply:
    """How the partner's connection stands. Never a token."""
    connection = await call.gateway.connections.get(call.caller, call.request.uuid("partner_id"))
    return Reply(model=ConnectionAnswer.of(connection))


@endpoint(bp, "DELETE", "api/partners/{partner_id}/connection", access=Access.KEY, tag=TAG, answer=ConnectionAnswer)
async def connection_end(call: Call) -> Reply:
    """Disconnect the partner: its tokens are of no use at once, and revoked at its server if that can be done."""
    connection = await call.gateway.connections.disconnect(call.caller, call.request.uuid("partner_id"))
    return Reply(model=ConnectionAnswer.of(connection))


def turned_away(refusal: Refusal) -> Reply:
    return page("Authorization failed", EXPLAINED[refusal], status=400, code=refusal.value)


def partner_in(request: Incoming) -> UUID | None:
    try:
        return request.uuid("partner_id")
    except errors.NotFound:
        return None


def cookie_of(request: Incoming) -> str | None:
    try:
        found = SimpleCookie(request.header("cookie") or "").get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None
