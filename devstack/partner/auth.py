"""Who may use the REST API: the holder of the key, shown in any of four ways, or of an access token."""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterator

from starlette.exceptions import HTTPException
from starlette.requests import Request

USER = "pinksync"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="partner", Basic realm="partner"'}


def check(request: Request, api_key: str, opens: Callable[[str], bool]) -> None:
    """X-API-Key, `?api_key=`, Bearer, or Basic as `pinksync`; 401 when none of them shows the key or a good token."""
    if opens(_bearer(request)):
        return
    if not any(hmac.compare_digest(shown.encode(), api_key.encode()) for shown in _shown(request)):
        raise HTTPException(401, "A valid API key is required.", CHALLENGE)


def _shown(request: Request) -> Iterator[str]:
    yield request.headers.get("x-api-key", "")
    yield request.query_params.get("api_key", "")
    yield _bearer(request)
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        yield _password(value.strip())


def _bearer(request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _password(credentials: str) -> str:
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password if user == USER else ""


def forms_of(api_key: str) -> tuple[str, str]:
    """How the key looks in a request, for masking it in the log."""
    return api_key, base64.b64encode(f"{USER}:{api_key}".encode()).decode()
