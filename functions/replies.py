"""Answers as bytes: JSON bodies, problem documents, cursors."""

import base64
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import to_json

from shared_code import errors
from shared_code.errors import PinkSyncError
from shared_code.services.idempotency import Answer

JSON = "application/json"
PROBLEM = "application/problem+json"
PROBLEM_TYPES = "https://errors.pinksync.dev/"


def json_bytes(model: BaseModel | None) -> bytes:
    return to_json(model) if model is not None else b""


def problem(error: PinkSyncError, request_id: str) -> Answer:
    """RFC 9457, with `code` and `request_id`, and `error` for clients of the original design."""
    title = error.title or HTTPStatus(error.status).phrase
    document: dict[str, Any] = {
        "type": PROBLEM_TYPES + error.code,
        "title": title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
        "error": title,
        **error.members,
    }
    if error.violations:
        document["errors"] = [{"pointer": v.pointer, "detail": v.detail} for v in error.violations]
    return Answer(status=error.status, headers={**error.headers, "Content-Type": PROBLEM}, body=orjson.dumps(document))


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
