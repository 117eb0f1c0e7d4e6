"""The partner's records: seeded ones, and on top of them what was changed, added or deleted since."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import orjson

from devstack.partner.database import transaction
from devstack.partner.records import RESOURCES, Record, Resource, as_text, first_updated_since, milliseconds, updated_ms
from devstack.partner.view import View

DEFAULT_RECORDS = 250


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one record. Without a body it is the seeded record at a later revision."""

    updated_ms: int
    revision: int = 0
    body: bytes | None = None
    deleted: bool = False


class Collection:
    """One resource. Everything is kept in the database; the changes are also held here, by id."""

    def __init__(self, resource: Resource, database: sqlite3.Connection) -> None:
        self.resource = resource
        self._database = database
        seeded = database.execute("SELECT records FROM seeds WHERE resource = ?", (resource.name,)).fetchone()
        changes = database.execute(
            "SELECT id, updated_ms, revision, body, deleted FROM changes WHERE resource = ?", (resource.name,)
        )
        self._changes = {row[0]: Change(row[1], row[2], row[3], bool(row[4])) for row in changes}
        self._begin(seeded[0] if seeded else DEFAULT_RECORDS)

    def _begin(self, seeded: int) -> None:
        """`modified_ms` is when anything here last changed, deletions too."""
        self.seeded = seeded
        self._last = max(seeded, max(self._changes, default=0))
        self._views: dict[int | None, View] = {}
        self.modified_ms = updated_ms(seeded)
        self._note(self._changes)

    @property
    def count(self) -> int:
        return len(self.view(None))

    def changed_ms(self, number: int) -> int:
        """When this record last changed."""
        change = self._changes.get(number)
        return change.updated_ms if change else updated_ms(number)

    def get(self, number: int) -> Record | None:
        change = self._changes.get(number)
        if change is None:
            return self.resource.make(number, 0) if 1 <= number <= self.seeded else None
        if change.deleted:
            return None
        record = orjson.loads(change.body) if change.body else self.resource.make(number, change.revision)
        return record | {"updated_at": as_text(change.updated_ms)}

    def view(self, since_ms: int | None) -> View:
        """The records that were updated at or after `since_ms`, by id."""
        if since_ms not in self._views:
            if len(self._views) > 16:
                self._views.clear()
            self._views[since_ms] = self._make_view(since_ms or 0)
        return self._views[since_ms]

    def _make_view(self, since_ms: int) -> View:
        seeded = range(first_updated_since(since_ms), self.seeded + 1)
        shown, hidden = [], []
        for number in sorted(self._changes):
            change = self._changes[number]
            (hidden if change.deleted or change.updated_ms < since_ms else shown).append(number)
        return View(
            seeded,
            low=[number for number in shown if number < seeded.start and number <= self.seeded],
            gone=[number for number in hidden if number in seeded],
            high=[number for number in shown if number > self.seeded],
        )

    def add(self, record: Record, now: datetime) -> int:
        """Its number, which no record had before."""
        self._last += 1
        now_ms = milliseconds(now)
        self._write(self._last, {**record, "created_at": as_text(now_ms)}, now_ms)
        return self._last

    def put(self, number: int, record: Record, now: datetime) -> None:
        self._write(number, record, milliseconds(now))

    def _write(self, number: int, record: Record, now_ms: int) -> None:
        self._keep({number: Change(now_ms, body=orjson.dumps({**record, "id": number}))})

    def remove(self, number: int, now: datetime) -> None:
        self._keep({number: Change(milliseconds(now), deleted=True)})

    def touch(self, numbers: Iterable[int], now: datetime) -> None:
        """A seeded record also moves on by one revision, so that its content changes with its time."""
        now_ms = milliseconds(now)
        before = ((number, self._changes.get(number, Change(0))) for number in numbers)
        self._keep({number: Change(now_ms, change.revision + 1, change.body) for number, change in before})

    def _keep(self, changes: dict[int, Change]) -> None:
        with transaction(self._database):
            self._database.executemany(
                "INSERT OR REPLACE INTO changes (resource, id, updated_ms, revision, body, deleted)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (self.resource.name, number, change.updated_ms, change.revision, change.body, change.deleted)
                    for number, change in changes.items()
                ),
            )
        self._changes |= changes
        self._note(changes)

    def _note(self, changes: dict[int, Change]) -> None:
        self._views.clear()
        for change in changes.values():
            self.modified_ms = max(self.modified_ms, change.updated_ms)

    def seed(self, records: int) -> None:
        """Start over with so many records, all as new."""
        with transaction(self._database):
            self._database.execute("DELETE FROM changes WHERE resource = ?", (self.resource.name,))
            self._database.execute(
                "INSERT OR REPLACE INTO seeds (resource, records) VALUES (?, ?)", (self.resource.name, records)
            )
        self._changes.clear()
        self._begin(records)


def open_catalog(database: sqlite3.Connection) -> dict[str, Collection]:
    return {name: Collection(resource, database) for name, resource in RESOURCES.items()}
