"""What the backend's answers mean to a partner (facts/xano.md 2.5, 7.3), and which may be given again. Pure rules."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import orjson

from shared_code import errors
from shared_code.model import carrier
from shared_code.ports import Returned

KEPT_HEADERS = frozenset({"content-type", "etag", "last-modified", "link", "x-total-count"})
NEVER_KEPT = frozenset({"no-store", "private", "no-cache"})
NEVER_STALE = frozenset({"must-revalidate", "proxy-revalidate"})
MOST_KEPT_BYTES = 1024 * 1024
"""What is larger would make the one round trip to the cache slow for everyone."""
LONGEST_FRESH_SECONDS = 43_200
"""Far less than a day: for so long it is remembered that a write dropped what was kept."""
STALE_SECONDS = 3600
"""How long after its freshness an answer may still stand in for a backend that is down."""


@carrier
class Kept:
    """An answer worth keeping: with when it was made and until when it is fresh, in epoch seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    made_at: int
    fresh_until: int
    stale_until: int

    def fresh(self, now: float) -> bool:
        return now < self.fresh_until

    def to_bytes(self) -> bytes:
        head = {
            "status": self.status,
            "headers": dict(self.headers),
            "made_at": self.made_at,
            "fresh_until": self.fresh_until,
            "stale_until": self.stale_until,
        }
        return orjson.dumps(head) + b"\n" + self.body

    @classmethod
    def from_bytes(cls, text: bytes) -> "Kept":
        head, _, body = text.partition(b"\n")
        return cls(body=body, **orjson.loads(head))


def understood(returned: Returned) -> Returned:
    """The answer, if it is one for the partner; otherwise the error that it means."""
    if returned.status < 300 and readable(returned):
        return returned
    if returned.status < 400:
        raise errors.BackendFailed()
    raise refusal(returned)


def refusal(returned: Returned) -> errors.PinkSyncError:
    told = parsed(returned.body)
    message, code = str(told.get("message") or ""), str(told.get("code") or "")
    members = {"backend": {"code": code, "message": message, "payload": told.get("payload")}}
    if returned.status == 409:
        return errors.Conflict(message or None, members=members)
    if message.startswith("Duplicate record detected"):
        return errors.Conflict("The backend has such a record already.", members=members)
    if returned.status == 404:
        return errors.NotFound(message or None, members=members)
    if returned.status == 429 or code == "ERROR_CODE_TOO_MANY_REQUESTS":
        return errors.BackendUnavailable("The backend asks for a pause.", headers={"Retry-After": "20"})
    if returned.status in (401, 403):
        return errors.BackendFailed("The backend refuses the gateway's own key; the operator must look.")
    if returned.status < 500:
        return errors.BadRequest(message or "The backend does not take this request.", members=members)
    if message == "Connection lost" or message.startswith("SQL Error"):
        return errors.BackendUnavailable(headers={"Retry-After": "5"})
    return errors.BackendFailed()


def readable(returned: Returned) -> bool:
    """Is what calls itself JSON really JSON, to its end?"""
    if not returned.body or "json" not in returned.headers.get("content-type", ""):
        return True
    try:
        orjson.loads(returned.body)
    except orjson.JSONDecodeError:
        return False
    return True


def parsed(body: bytes) -> Mapping[str, Any]:
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return cast(Mapping[str, Any], told) if isinstance(told, dict) else {}


def keepable(returned: Returned, now: float, default_seconds: int) -> Kept | None:
    """Only a plain 200 without cookies that nothing forbids to keep; as long as the backend says, or the default."""
    directives = cache_directives(returned.headers.get("cache-control", ""))
    forbidden = "set-cookie" in returned.headers or directives.keys() & NEVER_KEPT
    if returned.status != 200 or forbidden or not 0 < len(returned.body) <= MOST_KEPT_BYTES:
        return None
    seconds = min(lifetime(directives, default_seconds), LONGEST_FRESH_SECONDS)
    if seconds <= 0:
        return None
    fresh_until = int(now) + seconds
    return Kept(
        status=returned.status,
        headers=shown_headers(returned),
        body=returned.body,
        made_at=int(now),
        fresh_until=fresh_until,
        stale_until=fresh_until + (0 if directives.keys() & NEVER_STALE else STALE_SECONDS),
    )


def lifetime(directives: Mapping[str, str], default_seconds: int) -> int:
    """What makes no sense counts as already over (RFC 9111 4.2.1)."""
    for name in ("s-maxage", "max-age"):
        if name in directives:
            seconds = directives[name]
            return int(seconds[:9]) if seconds.isascii() and seconds.isdigit() else 0
    return default_seconds


def cache_directives(header: str) -> Mapping[str, str]:
    pairs = (part.strip().lower().partition("=") for part in header.split(",") if part.strip())
    return {name: value.strip('"') for name, _, value in pairs}


def shown_headers(returned: Returned) -> dict[str, str]:
    """What a partner is shown of the backend's headers; a value that is not plain ASCII cannot be sent on."""
    return {name: value for name, value in returned.headers.items() if name in KEPT_HEADERS and value.isascii()}


def tagged(returned: Returned) -> Returned:
    """A read with an ETag; one is made where the backend gave none."""
    if returned.status != 200 or "etag" in shown_headers(returned):
        return returned
    etag = '"' + hashlib.sha256(returned.body).hexdigest()[:32] + '"'
    return replace(returned, headers={**returned.headers, "etag": etag})


def matches(if_none_match: str | None, etag: str | None) -> bool:
    """RFC 9110 13.1.2: weak comparison."""
    if not if_none_match or not etag:
        return False
    asked = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in asked or etag.removeprefix("W/") in asked
