"""`endpoint()`: the one way to make an HTTP function. Everything a request meets before and after its handler.

Order: request id → key (no I/O for a malformed one) → limit → standing → admin or scope → body rules → handler →
answer. Any PinkSyncError becomes its problem document (RFC 9457) here and nowhere else. What is registered
here is also what OpenAPI is made from.

No decorator is ever put above `endpoint()`: one above `@bp.route` would be silently dropped, and with it
whatever it guards (facts/azure-functions.md §0.1).
"""

import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Unpack

import azure.functions as func
from pydantic import BaseModel, ValidationError

from functions import body as bodies
from functions import replies
from functions.pages import page
from functions.request import Incoming, incoming
from functions.route import ALL_METHODS, Access, Call, Endpoint, Handler, Nothing, Options, Reply
from shared_code import errors, gateway, telemetry
from shared_code.errors import PinkSyncError
from shared_code.gateway import Gateway
from shared_code.model import Caller, LimitState
from shared_code.ports import Ask
from shared_code.ports.access import ONLY_ACCESS
from shared_code.services.access import Admission
from shared_code.services.idempotency import Answer, OnceKey, once_key
from shared_code.services.resources import answer_name
from shared_code.settings import SettingsError

__all__ = [
    "ALL_METHODS",
    "ENDPOINTS",
    "Access",
    "Call",
    "Endpoint",
    "Nothing",
    "Reply",
    "add_function",
    "check_media_type",
    "endpoint",
]

logger = logging.getLogger("pinksync.http")
NOTHING = Nothing()


ENDPOINTS: list[Endpoint] = []
"""Every HTTP function of the app, in the order of registration."""


def endpoint(
    blueprint: func.Blueprint, method: str, route: str, *, access: Access, tag: str, **options: Unpack[Options]
) -> Callable[[Handler], Handler]:
    """Registers the handler below it as an HTTP function, behind every guard. The name is the handler's own.

    `method` is one, or `*` for all.
    """

    def register(handler: Handler) -> Handler:
        made = Endpoint(
            name=handler.__name__,
            summary=" ".join((handler.__doc__ or handler.__name__).split()),
            methods=ALL_METHODS if method == "*" else (method,),
            route=route,
            access=access,
            tag=tag,
            handler=handler,
            **options,
        )
        ENDPOINTS.append(made)
        add_function(blueprint, made)
        return handler

    return register


def add_function(blueprint: func.Blueprint, made: Endpoint) -> None:
    async def function(req: func.HttpRequest) -> func.HttpResponse:
        return await serve(made, req)

    function.__name__ = function.__qualname__ = made.name
    function.__doc__ = made.summary
    blueprint.route(route=made.route, methods=list(made.methods), auth_level=func.AuthLevel.ANONYMOUS)(function)


@dataclass(slots=True)
class Exchange:
    """What is known of one request so far; its headers go out whatever the answer is."""

    request: Incoming
    admission: Admission | None = None
    house: Gateway | None = None

    def headers(self) -> dict[str, str]:
        """Names in lower case, as `replies.sent` wants them."""
        if self.admission is None:
            return {"x-request-id": self.request.request_id}
        headers = limit_headers(self.admission.limit)
        headers["x-request-id"] = self.request.request_id
        headers["cache-control"] = "no-store"
        if self.admission.degraded:
            headers["x-pinksync-degraded"] = "redis"
        return headers


async def serve(made: Endpoint, req: func.HttpRequest) -> func.HttpResponse:
    """Answers whatever happens; counts the request and, where spans are collected, is one of them."""
    began = time.perf_counter()
    exchange = Exchange(incoming(req))
    with telemetry.span(made.name, **{"pinksync.request_id": exchange.request.request_id}):
        answer = await safely_answered(made, exchange)
        told(made, exchange, answer.status, time.perf_counter() - began)
    return replies.sent(answer, exchange.headers())


def told(made: Endpoint, exchange: Exchange, status: int, seconds: float) -> None:
    """The request in the tally; one whose trace is kept is a custom event too, for all that it stands for."""
    request, code = exchange.request, str(status)
    telemetry.REQUESTS.add(seconds, made.route, request.method, code)
    if exchange.house:
        exchange.house.metrics.counted()
    if stands_for := telemetry.stands_for():
        partner = exchange.admission.grant.partner_id if exchange.admission else None
        telemetry.custom_event(
            "ApiRequest",
            partnerId=str(partner or ""),
            endpoint=made.route,
            method=request.method,
            statusCode=code,
            durationMs=f"{seconds * 1000:.1f}",
            itemCount=str(stands_for),
            requestId=request.request_id,
        )


async def safely_answered(made: Endpoint, exchange: Exchange) -> Answer:
    try:
        return await answered(made, exchange)
    except PinkSyncError as error:
        if error.status >= 500:
            logger.warning("%s %s: %s %s", exchange.request.request_id, made.name, error.code, cause(error))
        return refusal(made, error, exchange.request.request_id)
    except SettingsError as error:
        logger.error("%s %s: %s", exchange.request.request_id, made.name, error)
        return refusal(made, errors.Unavailable(), exchange.request.request_id)
    except Exception as error:
        logger.exception("%s %s: %s", exchange.request.request_id, made.name, type(error).__name__)
        return refusal(made, PinkSyncError(), exchange.request.request_id)


def refusal(made: Endpoint, error: PinkSyncError, request_id: str) -> Answer:
    if not made.page:
        return replies.problem(error, request_id)
    reply = page(replies.title(error), error.message, status=error.status, code=error.code)
    return to_answer(replace(reply, headers={**replies.headers(error), **reply.headers}), None)


async def answered(made: Endpoint, exchange: Exchange) -> Answer:
    house = exchange.house = await gateway.current()
    request = exchange.request
    check_front_door(house, request)
    caller = await admitted(made, exchange, house)
    check_text(made, request)
    check_size(made, request)
    call = Call(
        gateway=house,
        request=request,
        body=read_body(made, request),
        query=read_query(made, request),
        _caller=caller,
        _admission=exchange.admission,
    )
    key = request.header("idempotency-key") if made.once else None
    if key and caller:
        whom = request.header("x-partner-id") or ""
        asked = f"{request.path_text}\x00{whom}\x00".encode() + request.raw
        return await once(made, call, once_key(caller.grant.tenant, f"{request.method} {made.route}", key, asked))
    reply = await made.handler(call)
    return to_answer(reply, await reply.settle() if reply.settle else reply.model)


def check_front_door(house: Gateway, request: Incoming) -> None:
    """The platform's rule says the same; this holds when somebody loosens that one."""
    wanted = house.settings.front_door_id
    if wanted and request.header("x-azure-fdid") != wanted:
        raise errors.NotThroughFrontDoor()


async def admitted(made: Endpoint, exchange: Exchange, house: Gateway) -> Caller | None:
    """Proves the key, counts the request, and checks that this key may call this route at all."""
    request, address = exchange.request, exchange.request.address
    if made.access in (Access.OPEN, Access.SIGNED):
        check_address(house, address)
        return None
    if made.access is Access.METRICS and is_metrics_token(house, request):
        return None
    try:
        admission = exchange.admission = await house.access.admit(request.presented_key(), address, ask(made, request))
    except errors.Unauthorized:
        check_address(house, address)
        raise
    caller = Caller(grant=admission.grant, origin=request.origin)
    if admission.limit.exceeded:
        await house.limits.refused(caller, admission.refusals)
    admission.check_standing()
    check_rights(made, caller, request, house)
    return caller


def is_metrics_token(house: Gateway, request: Incoming) -> bool:
    token = house.settings.metrics_token
    return token is not None and hmac.compare_digest(
        token.encode(), (request.presented_key() or "").encode(errors="replace")
    )


def ask(made: Endpoint, request: Incoming) -> Ask:
    """What else the cache is asked in the round trip that proves the key."""
    if not (made.cached or made.costly):
        return ONLY_ACCESS
    route = made.name if made.costly else ""
    if not made.cached:
        return Ask(route=route, route_limit=made.costly)
    name = answer_name(request.path.get("id", ""), request.query_text)
    return Ask(route=route, route_limit=made.costly, resource=request.path["resource"], answer=name)


def check_address(house: Gateway, address: str | None) -> None:
    """A limit by address for what has proven no key."""
    limit = house.addresses.charge(address or "unknown")
    if limit.exceeded:
        raise errors.RateLimited(headers={"Retry-After": str(limit.retry_after), **limit_headers(limit)})


def check_rights(made: Endpoint, caller: Caller, request: Incoming, house: Gateway) -> None:
    if made.access in (Access.ADMIN, Access.METRICS) and not caller.is_admin:
        raise errors.AdminOnly()
    scope = made.scope.format_map(request.path) if made.scope else None
    if scope and not caller.holds(scope):
        if "resource" in request.path:  # what is not there is not found, whatever the key may do
            house.resources.check(request.path["resource"])
        raise errors.InsufficientScope(f"This route needs the scope `{scope}`.", members={"required_scope": scope})


async def once(made: Endpoint, call: Call[Any, Any], key: OnceKey) -> Answer:
    """The handler's work and its kept answer as one transaction; what settles after it is kept too.

    A body that is passed on is worked elsewhere: no transaction is held open for that.
    """
    settling: list[Reply] = []

    async def work() -> Answer:
        reply = await made.handler(call)
        settling.append(reply)
        return replace(to_answer(reply, reply.model), settling=reply.settle is not None)

    idempotency = call.gateway.idempotency
    answer = await (idempotency.leased if made.raw_body else idempotency.once)(key, work)
    if answer.replayed:
        return replace(answer, headers={**answer.headers, "Idempotency-Replayed": "true"})
    settle = settling[0].settle if settling else None
    if settle:
        settled = to_answer(settling[0], await settle())
        await idempotency.refine(key, settled)
        return settled
    return answer


def cause(error: PinkSyncError) -> str:
    """What lies behind an answer of 5xx: kinds only, as texts of libraries can hold values."""
    below = error.__cause__
    return f"({type(below).__name__})" if below else ""


def to_answer(reply: Reply, model: BaseModel | None) -> Answer:
    content = reply.content if reply.content is not None else replies.json_bytes(model)
    headers = {"Content-Type": reply.content_type, **reply.headers} if content else dict(reply.headers)
    return Answer(status=reply.status, headers=headers, body=content)


def check_text(made: Endpoint, request: Incoming) -> None:
    """NUL has no place in a path or a query. A signed route says to it what it says to all garbage."""
    if made.access is Access.SIGNED:
        return
    if request.path and "\x00" in "".join(request.path.values()):
        raise errors.NotFound()
    if request.query and "\x00" in "".join(request.query.values()):
        raise errors.InvalidParameter("A query parameter may not have the character NUL.")


def check_size(made: Endpoint, request: Incoming) -> None:
    """A chunked body arrives here empty (facts/azure-functions.md §0.4), so it is refused rather than misread."""
    if not request.raw and "chunked" in (request.header("transfer-encoding") or "").lower():
        raise errors.LengthRequired()
    if len(request.raw) > made.body_limit:
        raise errors.TooLarge(f"The body may have at most {made.body_limit} bytes.")


def read_body(made: Endpoint, request: Incoming) -> BaseModel:
    if made.body is None:
        return NOTHING
    if not request.raw and not made.body.model_json_schema().get("required"):
        return made.body()
    check_media_type(request)
    return bodies.read(made.body, request.raw)


def check_media_type(request: Incoming) -> None:
    media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise errors.UnsupportedMediaType()


def read_query(made: Endpoint, request: Incoming) -> BaseModel:
    if made.query is None:
        return NOTHING
    try:
        return made.query.model_validate(dict(request.query))
    except ValidationError as error:
        found = bodies.violations(error)
        detail = "; ".join(f"{violation.pointer.lstrip('/')}: {violation.detail}" for violation in found)
        raise errors.InvalidParameter(detail, found) from error


def limit_headers(limit: LimitState) -> dict[str, str]:
    """The original design's three, and the IETF draft's two (facts/security.md 2.7)."""
    return {
        "x-ratelimit-limit": str(limit.limit),
        "x-ratelimit-remaining": str(limit.remaining),
        "x-ratelimit-reset": str(limit.reset),
        "ratelimit-policy": f'"default";q={limit.limit};w=60',
        "ratelimit": f'"default";r={limit.remaining};t={replies.seconds_until(limit.reset)}',
    }
