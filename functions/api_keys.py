"""API keys: made, listed, changed, rotated, revoked; and a route to try one."""

from datetime import timedelta
from uuid import UUID

import azure.functions as func
import orjson
from pydantic import AwareDatetime, Field

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import (
    AnswerBody,
    Grace,
    ListAnswer,
    Moment,
    Name,
    PageQuery,
    RateLimit,
    RequestBody,
    ScopeName,
)
from shared_code.services.api_keys import KeyChanges, MintedKey, NewKey

bp = func.Blueprint()


class NewKeyBody(RequestBody):
    name: Name
    scopes: list[ScopeName] | None = Field(default=None, min_length=1, max_length=50)
    expires_at: AwareDatetime | None = None
    partner_id: UUID | None = Field(default=None, description="For an admin: the partner whose key it will be.")
    rate_limit_per_minute: RateLimit | None = Field(default=None, description="Instead of the partner's own.")


class KeyPatchBody(RequestBody):
    """What is left out stays as it is; null ends the key's own limit, or its expiry."""

    name: Name | None = None
    scopes: list[ScopeName] | None = Field(default=None, min_length=1, max_length=50)
    rate_limit_per_minute: RateLimit | None = Field(default=None, description="For an admin to set.")
    expires_at: AwareDatetime | None = None


class RotateBody(RequestBody):
    grace_seconds: Grace = Field(default=0, description="How long the old key still works: 0 to 7 days.")


class KeyAnswer(AnswerBody):
    key_id: str
    name: str
    partner_id: UUID | None
    scopes: list[str]
    rate_limit_per_minute: int | None
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None
    created_at: Moment


class MintedAnswer(KeyAnswer):
    api_key: str = Field(description="Shown this once.")


class KeysQuery(PageQuery):
    partner_id: UUID | None = None


class KeysAnswer(ListAnswer):
    keys: list[KeyAnswer]


class RateLimitAnswer(AnswerBody):
    limit: int
    remaining: int
    reset: int


class TestAnswer(AnswerBody):
    ok: bool
    partner_id: UUID | None
    key_id: str
    scopes: list[str]
    rate_limit: RateLimitAnswer


@endpoint(
    bp,
    "POST",
    "api/keys",
    access=Access.KEY,
    tag="Partners and keys",
    body=NewKeyBody,
    answer=MintedAnswer,
    status=201,
    once=True,
)
async def keys_create(call: Call[NewKeyBody]) -> Reply:
    """Make another key. It can never do more than the key that asks for it."""
    wanted = NewKey(**{name: getattr(call.body, name) for name in NewKeyBody.model_fields})
    return minted(await call.gateway.api_keys.create(call.caller, wanted))


@endpoint(
    bp,
    "GET",
    "api/keys",
    access=Access.KEY,
    tag="Partners and keys",
    query=KeysQuery,
    answer=KeysAnswer,
)
async def keys_list(call: Call[Nothing, KeysQuery]) -> Reply:
    """List keys, newest first, never with their secrets."""
    page = call.query.page()
    found = await call.gateway.api_keys.list(call.caller, page, call.query.partner_id)
    return Reply(model=KeysAnswer.listing("keys", found, page, KeyAnswer.of))


@endpoint(
    bp,
    "PATCH",
    "api/keys/{key_id}",
    access=Access.KEY,
    tag="Partners and keys",
    body=KeyPatchBody,
    answer=KeyAnswer,
)
async def keys_patch(call: Call[KeyPatchBody]) -> Reply:
    """Change a key: what it may do, how often, until when. It holds from the key's next request on."""
    values = {name: getattr(call.body, name) for name in KeyPatchBody.model_fields}
    changes = KeyChanges(**values, given=call.body.model_fields_set)
    return Reply(model=KeyAnswer.of(await call.gateway.api_keys.change(call.caller, call.path["key_id"], changes)))


@endpoint(
    bp,
    "POST",
    "api/keys/{key_id}/rotate",
    access=Access.KEY,
    tag="Partners and keys",
    body=RotateBody,
    answer=MintedAnswer,
    status=201,
    once=True,
)
async def keys_rotate(call: Call[RotateBody]) -> Reply:
    """Replace a key: the new one works at once, the old one until `grace_seconds` are over."""
    grace = timedelta(seconds=call.body.grace_seconds)
    return minted(await call.gateway.api_keys.rotate(call.caller, call.path["key_id"], grace))


@endpoint(bp, "DELETE", "api/keys/{key_id}", access=Access.KEY, tag="Partners and keys", status=204)
async def keys_revoke(call: Call) -> Reply:
    """Revoke a key: refused everywhere from its next request on. Safe to repeat."""
    await call.gateway.api_keys.revoke(call.caller, call.path["key_id"])
    return Reply(status=204)


@endpoint(bp, "GET", "api/test", access=Access.KEY, tag="Partners and keys", answer=TestAnswer)
async def keys_test(call: Call) -> Reply:
    """Does this key work, what may it do, and how much of its limit is left?"""
    grant, limit = call.caller.grant, call.admission.limit
    answer = {
        "ok": True,
        "partner_id": grant.partner_id,
        "key_id": grant.key_id,
        "scopes": grant.scopes,
        "rate_limit": {"limit": limit.limit, "remaining": limit.remaining, "reset": limit.reset},
    }
    return Reply(content=orjson.dumps(answer))  # written by hand: a model of it costs 10 µs a call (decision 0011)


def minted(made: MintedKey) -> Reply:
    return Reply(status=201, model=MintedAnswer(**KeyAnswer.of(made.row).model_dump(), api_key=made.api_key))
