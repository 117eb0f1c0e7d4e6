"""Conditional GET (RFC 9110 section 13): a strong ETag of the body, and Last-Modified in whole seconds."""

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.requests import Request
from starlette.responses import Response


def answer(request: Request, body: bytes, modified_ms: int, headers: dict[str, str]) -> Response:
    modified = datetime.fromtimestamp(modified_ms // 1000, UTC)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = headers | {"ETag": etag, "Last-Modified": format_datetime(modified, usegmt=True)}
    if request.method in ("GET", "HEAD") and _unchanged(request, etag, modified):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _unchanged(request: Request, etag: str, modified: datetime) -> bool:
    """If-None-Match wins over If-Modified-Since, which cannot tell two changes in one second apart."""
    wanted = request.headers.get("if-none-match")
    if wanted is not None:
        return wanted.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in wanted.split(","))
    try:
        since = parsedate_to_datetime(request.headers.get("if-modified-since", ""))
    except ValueError:
        return False
    return modified <= (since if since.tzinfo else since.replace(tzinfo=UTC))
