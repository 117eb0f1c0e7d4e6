"""Endpoints: the URLs of an application (facts/svix.md §2, Endpoint rules)."""

import sqlite3
from dataclasses import dataclass, replace
from typing import Any

import orjson

from devstack.svix_server import clock, ids
from devstack.svix_server.errors import conflict
from devstack.svix_server.listing import Page, Select, listing
from devstack.svix_server.signing import OldKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    id: str
    app_id: str
    uid: str | None = None
    url: str
    description: str = ""
    throttle_rate: int | None = None
    disabled: bool = False
    event_types: list[str] | None = None
    channels: list[str] | None = None
    metadata: dict[str, str]
    headers: dict[str, str]
    key: str
    old_keys: tuple[OldKey, ...] = ()
    first_failure_at: int | None = None
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, row: sqlite3.Row) -> "Endpoint":
        return cls(
            id=row["id"],
            app_id=row["app_id"],
            uid=row["uid"],
            url=row["url"],
            description=row["description"],
            throttle_rate=row["throttle_rate"],
            disabled=bool(row["disabled"]),
            event_types=_loads(row["event_types"]),
            channels=_loads(row["channels"]),
            metadata=orjson.loads(row["metadata"]),
            headers=orjson.loads(row["headers"]),
            key=row["key"],
            old_keys=tuple(OldKey(**old) for old in orjson.loads(row["old_keys"])),
            first_failure_at=row["first_failure_at"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def touched(self) -> "Endpoint":
        return replace(self, updated_at=clock.now())

    def live_old_keys(self, now: int) -> tuple[OldKey, ...]:
        return tuple(old for old in self.old_keys if old.expires_at > now)

    def signing_keys(self, now: int) -> list[str]:
        """The current key, then every old one that has not expired."""
        return [self.key, *(old.key for old in self.live_old_keys(now))]

    def listens_to(self, event_type: str, channels: list[str] | None) -> bool:
        """A message without channels does not reach an endpoint with channels."""
        if self.event_types is not None and event_type not in self.event_types:
            return False
        return self.channels is None or bool(set(self.channels) & set(channels or ()))

    def out(self) -> dict[str, object]:
        return self.common_out() | {"id": self.id, "metadata": self.metadata}

    def common_out(self) -> dict[str, object]:
        """With the names of today and those of older servers."""
        return {
            "uid": self.uid,
            "url": self.url,
            "description": self.description,
            "disabled": self.disabled,
            "eventTypes": self.event_types,
            "filterTypes": self.event_types,
            "channels": self.channels,
            "throttleRate": self.throttle_rate,
            "rateLimit": self.throttle_rate,
            "version": 1,
            "createdAt": clock.rfc3339(self.created_at),
            "updatedAt": clock.rfc3339(self.updated_at),
        }


def find(db: sqlite3.Connection, app_id: str, id_or_uid: str) -> Endpoint | None:
    by_id = id_or_uid.startswith(ids.ENDPOINT)  # which no uid may
    row = db.execute(_BY_ID if by_id else _BY_UID, (app_id, id_or_uid)).fetchone()
    return None if row is None else Endpoint.of(row)


def enabled(db: sqlite3.Connection, app_id: str) -> list[Endpoint]:
    rows = db.execute("SELECT * FROM endpoint WHERE app_id = ? AND NOT deleted AND NOT disabled ORDER BY id", (app_id,))
    return [Endpoint.of(row) for row in rows]


def save(db: sqlite3.Connection, endpoint: Endpoint) -> None:
    """Inserts or replaces."""
    try:
        db.execute(_SAVE, _row(endpoint))
    except sqlite3.IntegrityError:
        raise conflict() from None


def delete(db: sqlite3.Connection, endpoint: Endpoint) -> None:
    """Its attempts stay readable; its uid is free again."""
    db.execute("UPDATE endpoint SET deleted = 1, uid = NULL WHERE id = ?", (endpoint.id,))


def page(db: sqlite3.Connection, app_id: str, asked: Page) -> dict[str, object]:
    select = Select("SELECT * FROM endpoint WHERE app_id = ? AND NOT deleted", app_id)
    return listing(db, select, asked, "id", lambda row: Endpoint.of(row).out())


_BY_ID = "SELECT * FROM endpoint WHERE app_id = ? AND id = ? AND NOT deleted"
_BY_UID = "SELECT * FROM endpoint WHERE app_id = ? AND uid = ?"
_SAVE = """
INSERT INTO endpoint VALUES (
    :id, :app_id, :uid, :url, :description, :throttle_rate, :disabled, :event_types, :channels,
    :metadata, :headers, :key, :old_keys, :first_failure_at, :created_at, :updated_at, 0
) ON CONFLICT (id) DO UPDATE SET
    uid = :uid, url = :url, description = :description, throttle_rate = :throttle_rate,
    disabled = :disabled, event_types = :event_types, channels = :channels, metadata = :metadata,
    headers = :headers, key = :key, old_keys = :old_keys, first_failure_at = :first_failure_at,
    updated_at = :updated_at
"""


def _row(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "app_id": endpoint.app_id,
        "uid": endpoint.uid,
        "url": endpoint.url,
        "description": endpoint.description,
        "throttle_rate": endpoint.throttle_rate,
        "disabled": endpoint.disabled,
        "event_types": _dumps(endpoint.event_types),
        "channels": _dumps(endpoint.channels),
        "metadata": _dumps(endpoint.metadata),
        "headers": _dumps(endpoint.headers),
        "key": endpoint.key,
        "old_keys": _dumps(endpoint.old_keys),
        "first_failure_at": endpoint.first_failure_at,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
    }


def _dumps(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _loads(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
