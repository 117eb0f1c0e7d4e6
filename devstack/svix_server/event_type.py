"""Event types, ordered by name (facts/svix.md §1). A message may name one that does not exist."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from devstack.svix_server import clock
from devstack.svix_server.errors import Flaw, unprocessable
from devstack.svix_server.listing import Page, Select, listing


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    org_id: str
    name: str
    description: str
    archived: bool = False
    deprecated: bool = False
    schemas: dict[str, Any] | None = None
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, row: sqlite3.Row) -> "EventType":
        return cls(
            org_id=row["org_id"],
            name=row["name"],
            description=row["description"],
            archived=bool(row["archived"]),
            deprecated=bool(row["deprecated"]),
            schemas=None if row["schemas"] is None else orjson.loads(row["schemas"]),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    def touched(self) -> "EventType":
        return replace(self, updated_at=clock.now())

    def out(self, *, with_content: bool = True) -> dict[str, object]:
        return {
            "name": self.name,
            "description": self.description,
            "archived": self.archived,
            "deprecated": self.deprecated,
            "schemas": self.schemas if with_content else None,
            "createdAt": clock.rfc3339(self.created_at),
            "updatedAt": clock.rfc3339(self.updated_at),
        }

    def example(self, index: int = 0) -> Any | None:
        """The example that the newest version's schema gives."""
        if not self.schemas:
            return None
        schema = self.schemas[max(self.schemas, key=lambda version: (len(version), version))]
        examples = schema.get("examples")
        if isinstance(examples, list) and 0 <= index < len(examples):
            return examples[index]
        return schema.get("example")


def find(db: sqlite3.Connection, org_id: str, name: str) -> EventType | None:
    row = db.execute("SELECT * FROM event_type WHERE org_id = ? AND name = ?", (org_id, name)).fetchone()
    return None if row is None else EventType.of(row)


def save(db: sqlite3.Connection, event_type: EventType) -> None:
    """Inserts or replaces."""
    schemas = None if event_type.schemas is None else orjson.dumps(event_type.schemas).decode()
    db.execute(
        "INSERT OR REPLACE INTO event_type VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(event_type.org_id, event_type.name, event_type.description, event_type.archived),
            *(event_type.deprecated, schemas, event_type.created_at, event_type.updated_at),
        ),
    )


def expunge(db: sqlite3.Connection, event_type: EventType) -> None:
    db.execute("DELETE FROM event_type WHERE org_id = ? AND name = ?", (event_type.org_id, event_type.name))


def page(db: sqlite3.Connection, org_id: str, asked: Page, *, archived: bool, with_content: bool) -> dict[str, object]:
    select = Select("SELECT * FROM event_type WHERE org_id = ?", org_id)
    if not archived:
        select.where("NOT archived")
    return listing(db, select, asked, "name", lambda row: EventType.of(row).out(with_content=with_content))


def refuse_unknown(db: sqlite3.Connection, org_id: str, names: Iterable[str]) -> None:
    """An endpoint may only filter on types that exist and are not archived."""
    known = db.execute("SELECT name FROM event_type WHERE org_id = ? AND NOT archived", (org_id,))
    missing = set(names) - {row["name"] for row in known}
    refuse_missing(missing)


def refuse_missing(missing: set[str]) -> None:
    if missing:
        names = ", ".join(sorted(missing))
        raise unprocessable(Flaw(("body", "eventTypes"), f"The following event types don't exist: {names}"))
