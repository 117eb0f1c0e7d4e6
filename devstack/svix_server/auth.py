"""Svix's tokens: HS256 JWTs, signed with one configured secret (facts/svix.md §2, Auth).

`sub=org_…` is an organisation token; `org=org_…` with `sub=app_…` is an application (portal) token.
"""

import hashlib
import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import orjson

from devstack.svix_server import ids
from devstack.svix_server.errors import ApiError, bad_request, unauthorized

DEFAULT_ORG = "org_23rb8YdGqMT0qIzpgGwdXfHirMu"
MANAGEMENT_ORG = "org_00000000000SvixManagement00"

_ISSUER = "svix-server"
_ORG_LIFETIME = 10 * 365 * 86_400
_APP_LIFETIME = 28 * 86_400
_HEADER = {"alg": "HS256", "typ": "JWT"}
_REMEMBERED_TOKENS = 1_000
_WRONG_KIND = (
    "Invalid token: this is the JWT secret itself. Make a token from it: `python -m devstack.svix_server token`."
)


@dataclass(frozen=True, slots=True)
class Permissions:
    org_id: str
    app_id: str | None = None


def org_token(secret: str, org_id: str = DEFAULT_ORG) -> str:
    """A ten-year organisation token."""
    return _encode(secret, {"sub": org_id}, _ORG_LIFETIME)


def app_token(secret: str, app_id: str, org_id: str = DEFAULT_ORG) -> str:
    """A 28-day token for one application, as the App Portal gets."""
    return _encode(secret, {"sub": app_id, "org": org_id}, _APP_LIFETIME)


class Tokens:
    """Reads the `Authorization` header; remembers the tokens it has checked."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._checked: dict[str, tuple[Permissions, float]] = {}

    def permissions(self, authorization: str) -> Permissions:
        known = self._checked.get(authorization)
        if known is not None and time.time() < known[1]:
            return known[0]
        claims = self._claims(authorization)
        permissions = _permissions(claims)
        if len(self._checked) >= _REMEMBERED_TOKENS:
            self._checked.clear()
        self._checked[authorization] = permissions, float(claims.get("exp", "inf"))
        return permissions

    def for_application(self, org_id: str, app_id: str) -> str:
        return app_token(self._secret, app_id, org_id)

    def _claims(self, authorization: str) -> dict[str, Any]:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized()
        if hmac.compare_digest(token.encode(), self._secret.encode()):
            raise unauthorized(_WRONG_KIND)
        return _decode(self._secret, token)


def _permissions(claims: dict[str, Any]) -> Permissions:
    org, subject = claims.get("org"), claims.get("sub")
    if not isinstance(subject, str):
        raise unauthorized("Invalid token (missing `sub`).")
    if org is None:
        if not subject.startswith(ids.ORG):
            raise bad_request("bad_token", "`sub' is not a valid organization id.")
        return Permissions(subject)
    if not isinstance(org, str) or not org.startswith(ids.ORG):
        raise _bad_claim("org", "organization")
    if not subject.startswith(ids.APP):
        raise _bad_claim("sub", "application")
    return Permissions(org, subject)


def _bad_claim(claim: str, kind: str) -> ApiError:
    return bad_request("bad token", f"`{claim}` is not a valid {kind} id")


def _encode(secret: str, claims: dict[str, str], lifetime: int) -> str:
    now = int(time.time())
    times = {"iat": now, "nbf": now, "exp": now + lifetime, "iss": _ISSUER}
    signed = f"{_base64(orjson.dumps(_HEADER))}.{_base64(orjson.dumps(times | claims))}"
    return f"{signed}.{_base64(_signature(secret, signed))}"


def _decode(secret: str, token: str) -> dict[str, Any]:
    signed, _, signature = token.rpartition(".")
    try:
        header, claims = (_json(part) for part in signed.split("."))
        given = _bytes(signature)
    except ValueError:
        raise unauthorized() from None
    if header.get("alg") != "HS256" or not hmac.compare_digest(given, _signature(secret, signed)):
        raise unauthorized()
    now = time.time()
    if not _number(claims.get("nbf", 0)) - 60 <= now < _number(claims.get("exp", 2**62)):
        raise unauthorized()
    return claims


def _signature(secret: str, signed: str) -> bytes:
    return hmac.digest(secret.encode(), signed.encode(), hashlib.sha256)


def _json(part: str) -> dict[str, Any]:
    value = orjson.loads(_bytes(part))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise unauthorized()
    return value


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
