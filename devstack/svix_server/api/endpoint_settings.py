"""An endpoint's secret, headers and statistics (facts/svix.md §0 finding 1, §1, §2)."""

from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, Field

from devstack.svix_server import attempt, clock, endpoint, signing
from devstack.svix_server.api.bodies import Body, Secret
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.api.endpoints import tell
from devstack.svix_server.api.header_rules import Headers, check_name, checked, shown
from devstack.svix_server.api.queries import moment
from devstack.svix_server.endpoint import Endpoint
from devstack.svix_server.errors import ApiError, Flaw, bad_request, unprocessable
from devstack.svix_server.reply import NO_CONTENT, Reply
from devstack.svix_server.signing import MAX_OLD_KEYS, OldKey

_WEEK_SECONDS = 604_800
_STATS_WINDOW = 28 * clock.DAY
_CLOCK_DIFFERENCE = 300 * clock.SECOND


def _checked_names(headers: dict[str, str | None]) -> dict[str, str | None]:
    for name in headers:
        check_name(name)
    return headers


class SecretRotateIn(Body):
    key: Secret | None = None
    grace_period_seconds: Annotated[int, Field(ge=0, le=_WEEK_SECONDS)] = 86_400


class HeadersIn(Body):
    headers: Headers


class HeadersPatchIn(Body):
    """A null removes, and so does `deleteHeaders`."""

    headers: Annotated[dict[str, str | None], AfterValidator(_checked_names)]
    delete_headers: list[str] = Field(default_factory=list)


def get_secret(call: Call) -> Reply:
    return secret_out(call.endpoint(call.application()))


def rotate_secret(call: Call) -> Reply:
    """200 with the new key, as the SDK reads it; 204, as svix-server answers, if a fault orders it."""
    app = call.application()
    rotated = rotate(call, call.endpoint(app))
    tell(call, app, rotated, "endpoint.updated")
    return NO_CONTENT if call.server.faults.rotate_secret_204 else secret_out(rotated)


def get_headers(call: Call) -> Reply:
    return Reply.json(shown(call.endpoint(call.application()).headers))


def set_headers(call: Call) -> Reply:
    return replace_headers(call, call.endpoint(call.application()), call.read(HeadersIn).headers)


def patch_headers(call: Call) -> Reply:
    known, given = call.endpoint(call.application()), call.read(HeadersPatchIn)
    removed = {*given.delete_headers, *(name for name, value in given.headers.items() if value is None)}
    merged = known.headers | {name: value for name, value in given.headers.items() if value is not None}
    kept = {name: value for name, value in merged.items() if name not in removed}
    return replace_headers(call, known, _checked_values(kept))


def get_stats(call: Call) -> Reply:
    known = call.endpoint(call.application())
    now = clock.now()
    until = moment(call.query, "until") or now
    if until > now:
        raise bad_request("invalid_range", "'until' cannot be in the future")
    since = moment(call.query, "since")
    since = until - _STATS_WINDOW if since is None else since
    if until - since > _STATS_WINDOW + _CLOCK_DIFFERENCE:
        detail = f"'since' cannot be more than 28 days prior to {clock.rfc3339(until)}"
        raise bad_request("invalid_range", detail)
    return Reply.json(attempt.stats(call.server.store.db, known.id, since, until))


def secret_out(known: Endpoint) -> Reply:
    return Reply.json({"key": signing.public_key(known.key)})


def rotate(call: Call, known: Endpoint) -> Endpoint:
    """The old key goes on signing until its grace period ends; expired ones are dropped now."""
    given, now = _rotation(call), clock.now()
    old = known.live_old_keys(now)
    if given.grace_period_seconds:
        if len(old) >= MAX_OLD_KEYS:
            raise _too_many_keys()
        expires_at = now + given.grace_period_seconds * clock.SECOND
        old = (OldKey(key=known.key, expires_at=expires_at), *old)
    rotated = replace(known.touched(), key=given.key or signing.generate_secret(), old_keys=old)
    endpoint.save(call.server.store.db, rotated)
    return rotated


def replace_headers(call: Call, known: Endpoint, headers: dict[str, str]) -> Reply:
    endpoint.save(call.server.store.db, replace(known.touched(), headers=headers))
    return NO_CONTENT


def _rotation(call: Call) -> SecretRotateIn:
    return call.read(SecretRotateIn)


def _too_many_keys() -> ApiError:
    return bad_request("limit_reached", f"You can only have {MAX_OLD_KEYS} old keys that have not expired.")


def _checked_values(headers: dict[str, str]) -> dict[str, str]:
    try:
        return checked(headers)
    except ValueError as error:
        raise unprocessable(Flaw(("body", "headers"), str(error))) from None


_ENDPOINT = "/api/v1/app/{app_id}/endpoint/{endpoint_id}"

ROUTES = (
    Route("GET", f"{_ENDPOINT}/secret", get_secret),
    Route("POST", f"{_ENDPOINT}/secret/rotate", rotate_secret),
    Route("GET", f"{_ENDPOINT}/headers", get_headers),
    Route("PUT", f"{_ENDPOINT}/headers", set_headers),
    Route("PATCH", f"{_ENDPOINT}/headers", patch_headers),
    Route("GET", f"{_ENDPOINT}/stats", get_stats),
)
