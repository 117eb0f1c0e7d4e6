"""What the backend's answers mean to a partner (facts/xano.md 2.5, 7.3), and which may be given again. Pure rules."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson

from shared_code import errors
from shared_code.ports import Returned

KEPT_HEADERS = frozenset({"content-type", "etag", "last-modified", "link", "x-total-count"})
NEVER_KEPT = frozenset({"no-store", "private", "no-cache"})
STALE_SECONDS = 3600
"""How long after its freshness an answer may still stand in for a backend that is down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer worth keeping: with when it was made and until when it is fresh, in epoch seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    made_at: int
    fresh_until: int

    def fresh(self, now: float) -> bool:
        return now < self.fresh_until

    def to_bytes(self) -> bytes:
        head = {
            "status": self.status,
            "headers": dict(self.headers),
            "made_at": self.made_at,
            "fresh_until": self.fresh_until,
        }
        return orjson.dumps(head) + b"\n" + self.body

    @classmethod
    def from_bytes(cls, text: bytes) -> "Kept":
        head, _, body = text.partition(b"\n")
        return cls(body=body, **orjson.loads(head))


def understood(returned: Returned) -> Returned:
    """The answer, if it is one for the partner; otherwise the error that it means."""
    if returned.status < 400:
        return returned
    told = parsed(returned.body)
    message, code = str(told.get("message") or ""), str(told.get("code") or "")
    members = {"backend": {"code": code, "message": message, "payload": told.get("payload")}}
    if message.startswith("Duplicate record detected"):
        raise errors.Conflict("The backend has such a record already.", members=members)
    if returned.status == 404:
        raise errors.NotFound(message or None, members=members)
    if returned.status == 429 or code == "ERROR_CODE_TOO_MANY_REQUESTS":
        raise errors.BackendUnavailable("The backend asks for a pause.", headers={"Retry-After": "20"})
    if returned.status in (401, 403):
        raise errors.BackendFailed("The backend refuses the gateway's own key; the operator must look.")
    if returned.status < 500:
        raise errors.BadRequest(message or "The backend does not take this request.", members=members)
    if message in ("Connection lost",) or message.startswith("SQL Error"):
        raise errors.BackendUnavailable(headers={"Retry-After": "5"})
    raise errors.BackendFailed()


def parsed(body: bytes) -> Mapping[str, Any]:
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return cast(Mapping[str, Any], told) if isinstance(told, dict) else {}


def keepable(returned: Returned, now: float, default_seconds: int) -> Kept | None:
    """Only a plain 200 without cookies that nothing forbids to keep; as long as the backend says, or the default."""
    directives = cache_directives(returned.headers.get("cache-control", ""))
    if (
        returned.status != 200
        or "set-cookie" in returned.headers
        or directives.keys() & {"no-store", "private", "no-cache"}
    ):
        return None
    seconds = lifetime(directives, default_seconds)
    if seconds <= 0:
        return None
    return Kept(
        status=returned.status,
        headers=shown_headers(returned),
        body=returned.body,
        made_at=int(now),
        fresh_until=int(now) + seconds,
    )


def lifetime(directives: Mapping[str, str], default_seconds: int) -> int:
    for name in ("s-maxage", "max-age"):
        if directives.get(name, "").isdigit():
            return int(directives[name])
    return default_seconds


def cache_directives(header: str) -> Mapping[str, str]:
    pairs = (part.strip().lower().partition("=") for part in header.split(",") if part.strip())
    return {name: value.strip('"') for name, _, value in pairs}


def shown_headers(returned: Returned) -> dict[str, str]:
    """What a partner is shown of the backend's headers."""
    return {name: value for name, value in returned.headers.items() if name in KEPT_HEADERS}


def tagged(returned: Returned) -> Returned:
    """A read with an ETag; one is made where the backend gave none."""
    if returned.status != 200 or "etag" in returned.headers:
        return returned
    etag = '"' + hashlib.sha256(returned.body).hexdigest()[:32] + '"'
    return replace(returned, headers={**returned.headers, "etag": etag})


def matches(if_none_match: str | None, etag: str | None) -> bool:
    """RFC 9110 13.1.2: weak comparison."""
    if not if_none_match or not etag:
        return False
    asked = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in asked or etag.removeprefix("W/") in asked
