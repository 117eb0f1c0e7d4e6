"""The rows, in one SQLite file. Every write is on disk before it is answered.

A *shelf* is what one partner has in one table of one data source: rows are only ever reached through it
(facts section 7.3: partner scoping is the operator's endpoint's work; section 7.4, item 10: data sources).
A row is kept as its finished JSON, so a list is joined, not built.
"""

import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from devstack.serving import CannotStart
from devstack.xano_server.errors import duplicate
from devstack.xano_server.tables import Table

Row = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS shelves (
    id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, data_source TEXT NOT NULL, partner_id TEXT NOT NULL,
    UNIQUE (table_name, data_source, partner_id));
CREATE TABLE IF NOT EXISTS last_ids (table_name TEXT PRIMARY KEY, id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS rows (
    shelf INTEGER NOT NULL, id INTEGER NOT NULL, external_id TEXT, natural_key TEXT NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (shelf, id), UNIQUE (shelf, external_id), UNIQUE (shelf, natural_key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fences (shelf INTEGER PRIMARY KEY, fence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (event_id TEXT PRIMARY KEY, event BLOB NOT NULL);
"""
NAMED = "FROM json_each(?) AS named CROSS JOIN rows ON shelf = ? AND external_id = named.value"
"""Each by the unique index: CROSS JOIN keeps SQLite from reading the whole shelf instead."""


@dataclass(frozen=True, slots=True)
class Shelf:
    id: int
    table: Table
    partner_id: str


class Store:
    """Not for two threads: the server works on its event loop, one statement after the other."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
        except sqlite3.Error as problem:
            raise CannotStart(f"cannot use {path}: {problem}") from problem
        self._shelves: dict[tuple[str, str, str], Shelf] = {}

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All or nothing; a unique index hit becomes Xano's own refusal (facts section 7.4, item 5)."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as problem:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(problem, sqlite3.IntegrityError):
                raise duplicate() from problem
            raise

    def shelf(self, table: Table, data_source: str, partner_id: str) -> Shelf:
        """Ask for it before the transaction: it is remembered, and so must not be rolled back."""
        place = (table.name, data_source, partner_id)
        if place not in self._shelves:
            self._db.execute(
                "INSERT OR IGNORE INTO shelves (table_name, data_source, partner_id) VALUES (?, ?, ?)", place
            )
            found = self._db.execute(
                "SELECT id FROM shelves WHERE table_name = ? AND data_source = ? AND partner_id = ?", place
            ).fetchone()
            self._shelves[place] = Shelf(found[0], table, partner_id)
        return self._shelves[place]

    def all(self, shelf: Shelf) -> list[bytes]:
        return self._rows("SELECT row FROM rows WHERE shelf = ? ORDER BY id", (shelf.id,))

    def page(self, shelf: Shelf, offset: int, limit: int) -> list[bytes]:
        query = "SELECT row FROM rows WHERE shelf = ? ORDER BY id LIMIT ? OFFSET ?"
        return self._rows(query, (shelf.id, limit, offset))

    def count(self, shelf: Shelf) -> int:
        return self._db.execute("SELECT count(*) FROM rows WHERE shelf = ?", (shelf.id,)).fetchone()[0]

    def get(self, shelf: Shelf, row_id: int) -> bytes | None:
        found = self._rows("SELECT row FROM rows WHERE shelf = ? AND id = ?", (shelf.id, row_id))
        return found[0] if found else None

    def by_external_id(self, shelf: Shelf, external_ids: Iterable[str]) -> list[bytes]:
        return self._rows(f"SELECT rows.row {NAMED}", (orjson.dumps(list(external_ids)).decode(), shelf.id))

    def _rows(self, query: str, values: Sequence[object]) -> list[bytes]:
        return [found[0] for found in self._db.execute(query, values)]

    def add(self, shelf: Shelf, rows: Sequence[Row]) -> None:
        """Gives each row its id. Ids ascend and no id is used twice."""
        for row, row_id in zip(rows, self._next_ids(shelf.table, len(rows)), strict=True):
            row["id"] = row_id
        self._db.executemany(
            "INSERT INTO rows (shelf, id, external_id, natural_key, row) VALUES (?, ?, ?, ?, ?)",
            ((shelf.id, row["id"], *_kept(shelf.table, row)) for row in rows),
        )

    def _next_ids(self, table: Table, how_many: int) -> range:
        self._db.execute("INSERT OR IGNORE INTO last_ids (table_name, id) VALUES (?, 0)", (table.name,))
        last = self._db.execute(
            "UPDATE last_ids SET id = id + ? WHERE table_name = ? RETURNING id", (how_many, table.name)
        ).fetchone()[0]
        return range(last - how_many + 1, last + 1)

    def change(self, shelf: Shelf, rows: Sequence[Row]) -> None:
        self._db.executemany(
            "UPDATE rows SET external_id = ?, natural_key = ?, row = ? WHERE shelf = ? AND id = ?",
            ((*_kept(shelf.table, row), shelf.id, row["id"]) for row in rows),
        )

    def remove(self, shelf: Shelf, row_id: int) -> None:
        self._db.execute("DELETE FROM rows WHERE shelf = ? AND id = ?", (shelf.id, row_id))

    def remove_all(self, shelf: Shelf, external_ids: Iterable[str]) -> int:
        query = f"DELETE FROM rows WHERE shelf = ? AND id IN (SELECT rows.id {NAMED})"  # noqa: S608 - literals only
        return self._db.execute(query, (shelf.id, orjson.dumps(list(external_ids)).decode(), shelf.id)).rowcount

    def pass_fence(self, shelf: Shelf, fence: int) -> bool:
        """False if a higher one was here. Ask in the transaction that writes."""
        kept = self._db.execute(
            "INSERT INTO fences (shelf, fence) VALUES (?, ?)"
            " ON CONFLICT (shelf) DO UPDATE SET fence = excluded.fence WHERE excluded.fence >= fences.fence",
            (shelf.id, fence),
        )
        return kept.rowcount == 1

    def put_in_outbox(self, event_id: str, event: bytes) -> None:
        self._db.execute("INSERT INTO outbox (event_id, event) VALUES (?, ?)", (event_id, event))

    def outbox(self) -> list[tuple[str, bytes]]:
        return self._db.execute("SELECT event_id, event FROM outbox ORDER BY rowid LIMIT 1000").fetchall()

    def take_from_outbox(self, event_id: str) -> None:
        self._db.execute("DELETE FROM outbox WHERE event_id = ?", (event_id,))


def _kept(table: Table, row: Row) -> tuple[str | None, str, bytes]:
    return row["external_id"], row[table.natural_key], orjson.dumps(row)
