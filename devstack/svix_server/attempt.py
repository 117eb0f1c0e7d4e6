"""Attempts and where they stand (facts/svix.md §1, and §2 Status)."""

import sqlite3
from dataclasses import dataclass
from enum import IntEnum

from devstack.svix_server import clock, ids
from devstack.svix_server.endpoint import Endpoint
from devstack.svix_server.listing import Page, Select, listing, turned, within
from devstack.svix_server.message import COLUMNS, Message, MessageFilter


class Status(IntEnum):
    SUCCESS = 0
    PENDING = 1
    FAIL = 2
    SENDING = 3
    CANCELED = 4


class Trigger(IntEnum):
    SCHEDULED = 0
    MANUAL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFilter:
    """`code_class` 0 means no HTTP answer at all."""

    message: MessageFilter
    status: int | None = None
    code_class: int | None = None
    endpoint_id: str | None = None


def insert(db: sqlite3.Connection, row: tuple[object, ...]) -> None:
    db.execute("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def find(db: sqlite3.Connection, msg_id: str, attempt_id: str) -> sqlite3.Row | None:
    return db.execute("SELECT * FROM attempt WHERE id = ? AND msg_id = ?", (attempt_id, msg_id)).fetchone()


def expunge(db: sqlite3.Connection, attempt_id: str) -> None:
    db.execute("UPDATE attempt SET response = 'EXPUNGED' WHERE id = ?", (attempt_id,))


def out(row: sqlite3.Row, *, with_content: bool = True) -> dict[str, object]:
    status = Status(row["status"])
    return {
        "id": row["id"],
        "msgId": row["msg_id"],
        "endpointId": row["endpoint_id"],
        "url": row["url"],
        "response": row["response"] if with_content else "{}",
        "responseStatusCode": row["response_status_code"],
        "responseDurationMs": row["response_duration_ms"],
        "status": status,
        "statusText": status.name.lower(),
        "triggerType": row["trigger_type"],
        "timestamp": clock.rfc3339(row["created_at"]),
    }


def by_endpoint(endpoint_id: str) -> Select:
    return Select(_ATTEMPTS).then("WHERE attempt.endpoint_id = ?", endpoint_id)


def by_message(msg_id: str) -> Select:
    return Select(_ATTEMPTS).then("WHERE attempt.msg_id = ?", msg_id)


def page(
    db: sqlite3.Connection, select: Select, asked: Page, filters: AttemptFilter, *, with_content: bool
) -> dict[str, object]:
    filters.message.narrow(select)
    if filters.status is not None:
        select.where("attempt.status = ?", filters.status)
    if filters.code_class is not None:
        select.where("response_status_code / 100 = ?", filters.code_class // 100)
    if filters.endpoint_id is not None:
        select.where("attempt.endpoint_id = ?", filters.endpoint_id)
    window = filters.message.window
    within(select, window, ids.ATTEMPT, "attempt.id", "attempt.created_at")
    asked = turned(asked, window)
    return listing(db, select, asked, "attempt.id", lambda row: out(row, with_content=with_content))


def messages_page(
    db: sqlite3.Connection, endpoint_id: str, asked: Page, filters: AttemptFilter, *, with_content: bool
) -> dict[str, object]:
    """The messages of one endpoint, each with how it stands there."""
    select = Select(_MESSAGES).then("WHERE destination.endpoint_id = ?", endpoint_id)
    if filters.status is not None:
        select.where(_STANDS[Status(filters.status)])
    filters.message.narrow(select)
    window = filters.message.window
    within(select, window, ids.MESSAGE, "destination.msg_id", "message.created_at")

    def message_out(row: sqlite3.Row) -> dict[str, object]:
        return Message.of(row).out(with_content=with_content) | standing_out(row)

    return listing(db, select, turned(asked, window), "destination.msg_id", message_out)


def destinations_page(db: sqlite3.Connection, msg_id: str, asked: Page) -> dict[str, object]:
    """The endpoints of one message, deleted ones included."""
    select = Select(_DESTINATIONS).then("WHERE destination.msg_id = ?", msg_id)

    def endpoint_out(row: sqlite3.Row) -> dict[str, object]:
        endpoint = Endpoint.of(row)
        return endpoint.common_out() | standing_out(row) | {"id": endpoint.id}

    return listing(db, select, asked, "destination.endpoint_id", endpoint_out)


def standing_out(row: sqlite3.Row) -> dict[str, object]:
    """Sending while another attempt is planned, else as the last attempt ended."""
    planned = row["next_attempt"]
    status = Status.SENDING if planned is not None else Status(row["last_status"])
    answer: dict[str, object] = {"status": status, "statusText": status.name.lower()}
    if planned is not None:
        answer["nextAttempt"] = clock.rfc3339(planned)
    return answer


def stats(db: sqlite3.Connection, endpoint_id: str, since: int, until: int) -> dict[str, int]:
    row = db.execute(
        "SELECT COALESCE(SUM(succeeded), 0) AS success, COALESCE(SUM(failed AND NOT succeeded), 0) AS fail,"
        " COUNT(*) AS total FROM destination WHERE endpoint_id = ? AND msg_id BETWEEN ? AND ?",
        (endpoint_id, ids.start_id(ids.MESSAGE, since), ids.end_id(ids.MESSAGE, until)),
    ).fetchone()
    sending = row["total"] - row["success"] - row["fail"]
    return {"success": row["success"], "pending": 0, "sending": sending, "fail": row["fail"], "canceled": 0}


_STANDS = {
    Status.SUCCESS: "succeeded",
    Status.PENDING: "0",
    Status.FAIL: "(failed AND NOT succeeded)",
    Status.SENDING: "(next_attempt IS NOT NULL AND NOT failed AND NOT succeeded)",
    Status.CANCELED: "0",
}
_ATTEMPTS = "SELECT attempt.* FROM attempt JOIN message ON message.id = attempt.msg_id"
_MESSAGES = f"""SELECT {COLUMNS}, destination.msg_id, next_attempt, last_status FROM destination
    JOIN message ON message.id = destination.msg_id
    LEFT JOIN content ON content.msg_id = message.id"""  # noqa: S608 (constants)
_DESTINATIONS = """SELECT endpoint.*, destination.endpoint_id, next_attempt, last_status FROM destination
    JOIN endpoint ON endpoint.id = destination.endpoint_id"""
