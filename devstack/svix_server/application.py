"""Applications: one per consumer of webhooks (facts/svix.md §1)."""

import sqlite3
from dataclasses import dataclass, replace

import orjson

from devstack.svix_server import clock, ids
from devstack.svix_server.errors import conflict
from devstack.svix_server.listing import Page, Select, listing

_BY_ID = "SELECT * FROM application WHERE org_id = ? AND id = ? AND NOT deleted"
_BY_UID = "SELECT * FROM application WHERE org_id = ? AND uid = ?"
_TAKEN = "An application with that id or uid already exists"


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    id: str
    org_id: str
    uid: str | None
    name: str
    throttle_rate: int | None
    metadata: dict[str, str]
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, row: sqlite3.Row) -> "Application":
        return cls(
            id=row["id"],
            org_id=row["org_id"],
            uid=row["uid"],
            name=row["name"],
            throttle_rate=row["throttle_rate"],
            metadata=orjson.loads(row["metadata"]),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def out(self) -> dict[str, object]:
        answer: dict[str, object] = {
            "id": self.id,
            "name": self.name,
            "metadata": self.metadata,
            "createdAt": clock.rfc3339(self.created_at),
            "updatedAt": clock.rfc3339(self.updated_at),
        }
        if self.uid is not None:
            answer["uid"] = self.uid
        if self.throttle_rate is not None:
            answer |= {"throttleRate": self.throttle_rate, "rateLimit": self.throttle_rate}
        return answer

    def touched(self) -> "Application":
        return replace(self, updated_at=clock.now())


def find(db: sqlite3.Connection, org_id: str, id_or_uid: str) -> Application | None:
    by_id = id_or_uid.startswith(ids.APP)  # which no uid may
    row = db.execute(_BY_ID if by_id else _BY_UID, (org_id, id_or_uid)).fetchone()
    return None if row is None else Application.of(row)


def insert(db: sqlite3.Connection, app: Application) -> None:
    try:
        db.execute(
            "INSERT INTO application (id, org_id, uid, name, throttle_rate, metadata, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(app.id, app.org_id, app.uid, app.name, app.throttle_rate),
                *(orjson.dumps(app.metadata).decode(), app.created_at, app.updated_at),
            ),
        )
    except sqlite3.IntegrityError:
        raise conflict(_TAKEN) from None


def update(db: sqlite3.Connection, app: Application) -> None:
    metadata = orjson.dumps(app.metadata).decode()
    try:
        db.execute(
            "UPDATE application SET uid = ?, name = ?, throttle_rate = ?, metadata = ?, updated_at = ? WHERE id = ?",
            (app.uid, app.name, app.throttle_rate, metadata, app.updated_at, app.id),
        )
    except sqlite3.IntegrityError:
        raise conflict(_TAKEN) from None


def delete(db: sqlite3.Connection, app: Application) -> None:
    """Gone for every caller; its uid is free again."""
    db.execute("UPDATE application SET deleted = 1, uid = NULL WHERE id = ?", (app.id,))


def page(db: sqlite3.Connection, org_id: str, asked: Page) -> dict[str, object]:
    select = Select("SELECT * FROM application WHERE org_id = ? AND NOT deleted", org_id)
    return listing(db, select, asked, "id", lambda row: Application.of(row).out())
