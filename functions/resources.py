"""Business resources, passed to the backend; and the way to partners' own APIs."""

from collections.abc import Mapping
from uuid import UUID

import azure.functions as func
from pydantic import Field

from functions.body import check_json
from functions.http import Access, Call, Reply, check_media_type, endpoint
from functions.schemas import AnswerBody
from shared_code import errors, telemetry
from shared_code.services.proxy import ProxyCall
from shared_code.services.resources import ResourceAnswer, ResourceCall

bp = func.Blueprint()

READ, WRITE = "read:{resource}", "write:{resource}"


class CheckAnswer(AnswerBody):
    name: str
    ok: bool
    latency_ms: int
    detail: str


class ChecksAnswer(AnswerBody):
    ok: bool
    checks: list[CheckAnswer] = Field(description="The partner's API, and each of its webhook endpoints.")


@endpoint(bp, "GET", "api/v1/{resource}", access=Access.KEY, scope=READ, tag="Business resources", cached=True)
async def resources_list(call: Call) -> Reply:
    """List a business resource. `X-Cache` says HIT, MISS, BYPASS or STALE."""
    return await read(call)


@endpoint(
    bp,
    "GET",
    "api/v1/{resource}/{id}",
    access=Access.KEY,
    scope=READ,
    tag="Business resources",
    cached=True,
)
async def resources_get(call: Call) -> Reply:
    """One record of a business resource."""
    return await read(call)


@endpoint(
    bp,
    "POST",
    "api/v1/{resource}",
    access=Access.KEY,
    scope=WRITE,
    tag="Business resources",
    raw_body=True,
    once=True,
)
async def resources_create(call: Call) -> Reply:
    """Make a record of a business resource."""
    return await write(call)


@endpoint(bp, "PUT", "api/v1/{resource}/{id}", access=Access.KEY, scope=WRITE, tag="Business resources", raw_body=True)
async def resources_put(call: Call) -> Reply:
    """Replace a record of a business resource."""
    return await write(call)


@endpoint(
    bp, "PATCH", "api/v1/{resource}/{id}", access=Access.KEY, scope=WRITE, tag="Business resources", raw_body=True
)
async def resources_patch(call: Call) -> Reply:
    """Change a record of a business resource."""
    return await write(call)


@endpoint(
    bp, "DELETE", "api/v1/{resource}/{id}", access=Access.KEY, scope=WRITE, tag="Business resources", raw_body=True
)
async def resources_delete(call: Call) -> Reply:
    """Delete a record of a business resource."""
    return await write(call)


@endpoint(
    bp,
    "*",
    "api/proxy/{partner_id}/{*path}",
    access=Access.KEY,
    scope="proxy:{partner_id}",
    tag="Partner APIs",
    raw_body=True,
)
async def proxy_call(call: Call) -> Reply:
    """The partner's own API, with its stored credentials put in and yours taken out."""
    request = call.request
    returned = await call.gateway.proxy.call(
        ProxyCall(
            partner_id=request.uuid("partner_id"),
            method=request.method,
            path="".join(request.path_text.split("/", 4)[4:]),
            query=request.query_text,
            headers=dict(request.headers.items()),
            body=request.raw,
            request_id=request.request_id,
        )
    )
    headers = untyped(returned.headers, returned.body)
    content_type = returned.headers.get("content-type", "application/octet-stream")
    return Reply(status=returned.status, headers=headers, content=returned.body, content_type=content_type)


@endpoint(
    bp,
    "POST",
    "api/partners/{partner_id}/test",
    access=Access.KEY,
    tag="Partners and keys",
    answer=ChecksAnswer,
    costly=30,
)
async def partners_test(call: Call) -> Reply:
    """Reach the partner's API with its credentials, and its webhook endpoints: what works, and how fast."""
    checks = await call.gateway.proxy.check(call.caller, call.request.uuid("partner_id"))
    answers = [CheckAnswer.of(check) for check in checks]
    return Reply(model=ChecksAnswer(ok=all(check.ok for check in checks), checks=answers))


async def read(call: Call) -> Reply:
    call.gateway.resources.check(call.path["resource"])
    return shown(await call.gateway.resources.read(await resource_call(call)))


async def write(call: Call) -> Reply:
    call.gateway.resources.check(call.path["resource"])
    if call.request.raw:
        check_media_type(call.request)
        check_json(call.request.raw)
    return shown(await call.gateway.resources.write(await resource_call(call)))


async def resource_call(call: Call) -> ResourceCall:
    request, admission = call.request, call.admission
    partner = str(call.caller.partner_id or await named_partner(call))
    return ResourceCall(
        method=request.method,
        tenant=partner,
        partner=partner,
        resource=call.path["resource"],
        item=call.path.get("id", ""),
        query=request.query_text,
        body=request.raw,
        request_id=request.request_id,
        traceparent=telemetry.traceparent(request.traceparent),
        idempotency_key=request.header("idempotency-key"),
        if_none_match=request.header("if-none-match"),
        fresh=wants_fresh(request.header("cache-control")),
        generation="" if call.caller.is_house else admission.generation,
        kept=None if call.caller.is_house else admission.answer,
    )


async def named_partner(call: Call) -> UUID:
    """A partner's key acts for that partner; a key of the house names one, that there is, in `X-Partner-Id`."""
    try:
        named = UUID(call.request.header("x-partner-id") or "")
    except ValueError as error:
        raise errors.BadRequest("A key of no partner must name one in the header X-Partner-Id.") from error
    return (await call.gateway.partners.get(call.caller, named)).partner_id


def wants_fresh(cache_control: str | None) -> bool:
    """RFC 9111 5.2.1: does the caller want no kept answer?"""
    asked = {directive.strip().lower() for directive in (cache_control or "").split(",")}
    return bool(asked & {"no-cache", "no-store", "max-age=0"})


def shown(answer: ResourceAnswer) -> Reply:
    headers = untyped(answer.headers, answer.body) | {"X-Cache": answer.cache, "Cache-Control": "private, no-cache"}
    content_type = answer.headers.get("content-type", "application/json")
    return Reply(status=answer.status, headers=headers, content=answer.body, content_type=content_type)


def untyped(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Without the type of the body; an answer to HEAD and a 304 have none, and still tell its type."""
    return {name: value for name, value in headers.items() if name != "content-type" or not body}
