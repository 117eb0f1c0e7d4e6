"""Answers as bytes: JSON bodies, problem documents, cursors."""

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import azure.functions as func
import orjson
from pydantic import BaseModel
from pydantic_core import to_json

from shared_code import errors
from shared_code.errors import PinkSyncError
from shared_code.services.idempotency import Answer

JSON = "application/json"
PROBLEM = "application/problem+json"
PROBLEM_TYPES = "https://errors.pinksync.dev/"


class Sent(func.HttpResponse):
    """What a function returns, made of what is known to be right: the library's own constructor, which checks and
    copies each header on its way into a mapping of its own, costs 12 µs of an answer (docs/decisions/0011).
    """

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._status, self._headers, self._body = status, headers, body

    @property
    def status_code(self) -> int:
        return self._status

    @property
    def headers(self) -> Any:
        return self._headers

    @property
    def mimetype(self) -> str:
        return "text/plain"

    @property
    def charset(self) -> str:
        return "utf-8"

    def get_body(self) -> bytes:
        return self._body


def sent(answer: Answer, more: Mapping[str, str]) -> func.HttpResponse:
    """The answer with these headers too, where it has none of that name itself. `more` has names in lower case.

    Raises ValueError for a value that would begin another line: it would be a header of somebody else's making.
    """
    headers = dict(more)
    for name, value in answer.headers.items():
        headers[name.lower()] = value
    values = "".join(headers.values())
    if "\n" in values or "\r" in values:
        raise ValueError("a header's value holds a line break")
    if "set-cookie" in headers:  # a line for each: that is the library's to do
        return func.HttpResponse(answer.body, status_code=answer.status, headers=headers)
    return Sent(answer.status, headers, answer.body)


def json_bytes(model: BaseModel | None) -> bytes:
    return to_json(model) if model is not None else b""


def problem(error: PinkSyncError, request_id: str) -> Answer:
    """RFC 9457, with `code` and `request_id`, and `error` for clients of the original design."""
    document: dict[str, Any] = {
        "type": PROBLEM_TYPES + error.code,
        "title": title(error),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
        "error": title(error),
        **error.members,
    }
    if error.violations:
        document["errors"] = [{"pointer": v.pointer, "detail": v.detail} for v in error.violations]
    return Answer(status=error.status, headers={**headers(error), "Content-Type": PROBLEM}, body=orjson.dumps(document))


def title(error: PinkSyncError) -> str:
    return error.title or HTTPStatus(error.status).phrase


def headers(error: PinkSyncError) -> Mapping[str, str]:
    """What passes by itself is worth asking for again; whoever raises it may know better when."""
    return {"Retry-After": "5", **error.headers} if isinstance(error, errors.Unavailable) else error.headers


def rfc3339(moment: datetime) -> str:
    """UTC with `Z`, microseconds kept."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def seconds_until(epoch_seconds: int) -> int:
    return max(0, epoch_seconds - int(time.time()))


def cursor(position: tuple[datetime, int] | None) -> str | None:
    """Opaque to clients: where a page ended."""
    if position is None:
        return None
    moment, number = position
    return base64.urlsafe_b64encode(f"{moment.isoformat()}|{number}".encode()).decode().rstrip("=")


def position(text: str) -> tuple[datetime, int]:
    try:
        moment, _, number = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition("|")
        parsed = datetime.fromisoformat(moment)
        if parsed.tzinfo is None or not 0 <= int(number) < 2**63:
            raise ValueError(text)
        return parsed, int(number)
    except (ValueError, UnicodeError) as error:
        raise errors.InvalidParameter(
            "cursor: This is not a cursor of ours; take `next_cursor` as it was given."
        ) from error
