"""Lists, exactly as Svix pages them (facts/svix.md §1, Pagination)."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from devstack.svix_server import clock, ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page asked for. `previous`: the page before `iterator`, still given in normal order."""

    limit: int = 50
    iterator: str | None = None
    previous: bool = False
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Only what was created between the two moments, both excluded."""

    before: int | None = None
    after: int | None = None


_DEFAULT_WINDOW = 90 * clock.DAY


class Select:
    """A SELECT put together from fixed text; every value is a parameter."""

    def __init__(self, sql: str, *parameters: object) -> None:
        self._sql = [sql]
        self._parameters = list(parameters)

    def where(self, condition: str, *parameters: object) -> "Select":
        self._sql += ["AND", condition]
        self._parameters += parameters
        return self

    def where_any(self, column: str, values: Sequence[str]) -> "Select":
        marks = ", ".join("?" * len(values))
        return self.where(" ".join([column, "IN (", marks, ")"]), *values)

    def then(self, sql: str, *parameters: object) -> "Select":
        self._sql.append(sql)
        self._parameters += parameters
        return self

    def rows(self, db: sqlite3.Connection) -> list[sqlite3.Row]:
        return db.execute(" ".join(self._sql), self._parameters).fetchall()


def within(select: Select, window: Window, prefix: str, id_column: str, time_column: str) -> Select:
    """Narrows to the window; 90 days if it has no bounds."""
    before, after = window.before, window.after
    if before is None and after is None:
        return select.where(id_column + " >= ?", ids.start_id(prefix, clock.now() - _DEFAULT_WINDOW))
    if before is not None:
        select.where(id_column + " <= ?", ids.end_id(prefix, before)).where(time_column + " < ?", before)
    if after is not None:
        select.where(id_column + " >= ?", ids.start_id(prefix, after)).where(time_column + " > ?", after)
    return select


def turned(page: Page, window: Window) -> Page:
    """`after` alone asks for the page closest to `after`, as an iterator pointing back would."""
    if page.iterator is None and window.before is None and window.after is not None:
        return Page(limit=page.limit, previous=True, ascending=page.ascending)
    return page


def listing(
    db: sqlite3.Connection,
    select: Select,
    page: Page,
    key: str,
    out: Callable[[sqlite3.Row], dict[str, object]],
) -> dict[str, object]:
    """The list answer; `key` is the column that orders it, the last part of its name the row's field."""
    rising = page.ascending != page.previous
    if page.iterator is not None:
        select.where(key + (" > ?" if rising else " < ?"), page.iterator)
    select.then("ORDER BY").then(key).then("ASC" if rising else "DESC").then("LIMIT ?", page.limit + 1)
    rows = select.rows(db)
    done = len(rows) <= page.limit
    rows = rows[: page.limit]
    if page.previous:
        rows.reverse()
    return _answer(rows, key.rpartition(".")[2], done, out)


def _answer(
    rows: list[sqlite3.Row], field: str, done: bool, out: Callable[[sqlite3.Row], dict[str, object]]
) -> dict[str, object]:
    answer: dict[str, object] = {"data": [out(row) for row in rows], "iterator": None, "done": done}
    if rows:
        answer["iterator"] = rows[-1][field]
        answer["prevIterator"] = "-" + rows[0][field]
    return answer
