"""Messages and their payloads, kept as the bytes that were posted (facts/svix.md §1, §2)."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from devstack.svix_server import clock, ids
from devstack.svix_server.errors import conflict
from devstack.svix_server.listing import Page, Select, Window, listing, turned, within

COLUMNS = "message.id, message.app_id, event_id, event_type, message.channels, message.created_at, payload"

_EXPIRED = {"expired": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`payload` is None once it is expunged or expired."""

    id: str
    app_id: str
    event_id: str | None
    event_type: str
    channels: list[str] | None
    created_at: int
    payload: bytes | None

    @classmethod
    def of(cls, row: sqlite3.Row) -> "Message":
        return cls(
            id=row["id"],
            app_id=row["app_id"],
            event_id=row["event_id"],
            event_type=row["event_type"],
            channels=None if row["channels"] is None else orjson.loads(row["channels"]),
            created_at=row["created_at"],
            payload=row["payload"],
        )

    def out(self, *, with_content: bool) -> dict[str, object]:
        return {
            "id": self.id,
            "eventId": self.event_id,
            "eventType": self.event_type,
            "payload": _readable(self.payload) if with_content else {},
            "channels": self.channels,
            "timestamp": clock.rfc3339(self.created_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    window: Window
    event_types: list[str] | None = None
    channel: str | None = None

    def narrow(self, select: Select) -> Select:
        if self.event_types is not None:
            select.where_any("message.event_type", self.event_types)
        if self.channel is not None:
            select.where(_HAS_CHANNEL, self.channel)
        return select


def find(db: sqlite3.Connection, app_id: str, id_or_event_id: str) -> Message | None:
    by_id = id_or_event_id.startswith(ids.MESSAGE)  # which no event id may
    select = Select(_WITH_PAYLOAD).then("WHERE app_id = ?", app_id)
    rows = select.where("message.id = ?" if by_id else "event_id = ?", id_or_event_id).rows(db)
    return Message.of(rows[0]) if rows else None


def insert(db: sqlite3.Connection, message: Message, expires_at: int) -> None:
    channels = None if message.channels is None else orjson.dumps(message.channels).decode()
    try:
        db.execute(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(message.id, message.app_id, message.event_id, message.event_type),
                *(channels, message.created_at),
            ),
        )
    except sqlite3.IntegrityError:
        raise conflict() from None
    db.execute("INSERT INTO content VALUES (?, ?, ?)", (message.id, message.payload, expires_at))


def insert_headers(db: sqlite3.Connection, message: Message, headers: Mapping[str, str]) -> None:
    rows = [(message.id, name, value) for name, value in headers.items()]
    db.executemany("INSERT OR REPLACE INTO message_header VALUES (?, ?, ?)", rows)


def expunge(db: sqlite3.Connection, message: Message) -> None:
    db.execute("DELETE FROM content WHERE msg_id = ?", (message.id,))


def page(
    db: sqlite3.Connection, app_id: str, asked: Page, filters: MessageFilter, *, with_content: bool
) -> dict[str, object]:
    select = filters.narrow(Select(_WITH_PAYLOAD).then("WHERE app_id = ?", app_id))
    within(select, filters.window, ids.MESSAGE, "message.id", "message.created_at")
    asked = turned(asked, filters.window)
    return listing(db, select, asked, "message.id", lambda row: Message.of(row).out(with_content=with_content))


_HAS_CHANNEL = "EXISTS (SELECT 1 FROM json_each(message.channels) WHERE value = ?)"
_WITH_PAYLOAD = f"SELECT {COLUMNS} FROM message LEFT JOIN content ON msg_id = message.id"  # noqa: S608 (constants)


def _readable(payload: bytes | None) -> Any:
    try:
        return orjson.loads(payload or b"")
    except orjson.JSONDecodeError:
        return _EXPIRED
