"""What the PostgreSQL adapters share: conditions, pages and JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

import certifi
import orjson
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow
from psycopg.types.json import Json, Jsonb

from shared_code import errors
from shared_code.model import MOST_COUNTED, Listing, Page

type Connection = AsyncConnection[DictRow]


def trusting(url: str) -> str:
    """A connection string that verifies its server against certifi's roots, unless it names others.

    psycopg's wheel brings an OpenSSL of its own, which does not know where this machine keeps its roots.
    """
    given = conninfo_to_dict(url)
    if str(given.get("sslmode", "")).startswith("verify-") and "sslrootcert" not in given:
        return make_conninfo(url, sslrootcert=certifi.where())
    return url


def jsonb(value: object) -> Jsonb:
    return Jsonb(value, dumps=to_json)


def json_text(value: object) -> Json:
    """For what must come out as it went in: jsonb sorts keys and rewrites numbers."""
    return Json(value, dumps=to_json)


def to_json(value: object) -> bytes:
    """Raises InvalidBody for what JSON cannot say: half of a surrogate pair, a number beyond 64 bits."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise errors.InvalidBody("A value does not fit where it is to be stored.") from error


@dataclass(slots=True)
class Where:
    """Conditions joined by AND. The SQL is literal; values only ever travel as parameters."""

    conditions: list[sql.SQL] = field(default_factory=list[sql.SQL])
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def when(self, condition: LiteralString, **values: object) -> "Where":
        """Adds the condition, unless one of its values is None."""
        if all(value is not None for value in values.values()):
            self.conditions.append(sql.SQL(condition))
            self.values.update(values)
        return self

    def clause(self) -> sql.Composable:
        return sql.SQL(" AND ").join(self.conditions) if self.conditions else sql.SQL("true")


async def listing[Item](
    connection: Connection,
    columns: LiteralString,
    source: LiteralString,
    where: Where,
    page: Page,
    make: Callable[[Mapping[str, Any]], Item],
) -> Listing[Item]:
    """One page, newest first, by (created_at, id); one row more than asked tells if there is a next.

    Counting stops at MOST_COUNTED and goes by the list's own index, so that a list of a million rows answers as
    fast as one of ten thousand: left to itself the planner reads the table, which of a large one is not cached.
    """
    counted = await connection.execute(
        sql.SQL(
            """SELECT count(*) AS total
               FROM (SELECT FROM {} WHERE {} ORDER BY created_at DESC, id DESC LIMIT {}) AS counted"""
        ).format(sql.SQL(source), where.clause(), MOST_COUNTED),
        where.values,
    )
    total = (await counted.fetchone() or {"total": 0})["total"]
    rows = await _page(connection, columns, source, where, page)
    shown = rows[: page.limit]
    last = (shown[-1]["created_at"], shown[-1]["id"]) if len(rows) > page.limit else None
    return Listing(items=[make(row) for row in shown], total=total, next=last)


async def _page(
    connection: Connection, columns: LiteralString, source: LiteralString, where: Where, page: Page
) -> Sequence[DictRow]:
    values: dict[str, Any] = {"_limit": page.limit + 1, "_offset": page.offset}
    clause = where.clause()
    if page.after:
        clause = sql.SQL("{} AND (created_at, id) < (%(_at)s, %(_id)s)").format(clause)
        values |= {"_at": page.after[0], "_id": page.after[1]}
    statement = sql.SQL(
        "SELECT id, {} FROM {} WHERE {} ORDER BY created_at DESC, id DESC LIMIT %(_limit)s OFFSET %(_offset)s"
    ).format(sql.SQL(columns), sql.SQL(source), clause)
    return await (await connection.execute(statement, where.values | values)).fetchall()
