"""Migrations: numbered SQL files (`NNNN_name.sql`), each applied once, in order, by one runner at a time.

A file runs in a transaction of its own, together with its row in schema_migrations: killed half-way, nothing
of it is left. A file whose first line is `-- no transaction` runs outside of one, statement by statement (each
ends with `;` at the end of a line), for CREATE INDEX CONCURRENTLY; it must be safe to run again from its start.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from shared_code.adapters.postgres_rows import Connection, trusting

type Report = Callable[[str], None]

NAME = re.compile(r"(?!0000)(\d{4})_[a-z0-9_]+\.sql")
OUTSIDE = "-- no transaction"
LOCK = int.from_bytes(b"pinksync")
WAIT_SECONDS = 30.0
POLL_SECONDS = 0.1
SESSION = " ".join(
    (
        "-c lock_timeout=2s",  # a migration that waits for a lock makes everyone behind it wait too
        "-c statement_timeout=0",
        "-c client_connection_check_interval=500ms",  # the server notices at once when a runner is killed
        "-c timezone=UTC",
    )
)
TABLE = """CREATE TABLE IF NOT EXISTS schema_migrations (
  version    integer PRIMARY KEY,
  name       text NOT NULL,
  checksum   text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)"""


class MigrationError(Exception):
    """The schema cannot be brought up to date. One line: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    version: int
    file: str
    text: str = field(repr=False)

    @property
    def checksum(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def runs_outside(self) -> bool:
        return self.text.partition("\n")[0].strip() == OUTSIDE

    def statements(self) -> Sequence[str]:
        return [part for part in re.split(r"(?<=;)[ \t]*(?:\n|$)", self.text) if holds_code(part)]


async def migrate(url: str, folder: Path, report: Report, *, wait: float = WAIT_SECONDS) -> list[str]:
    """Applies what is pending and answers the files' names; `report` gets a line for each. Raises MigrationError.

    A second runner waits for the first one, and then finds nothing left to do.
    """
    migrations = read(folder)
    async with connected(url) as connection:
        await become_sole_runner(connection, report, wait)
        with explained("schema_migrations"):
            await connection.execute(TABLE)
        owed = unapplied(migrations, await applied(connection))
        for migration in owed:
            started = time.monotonic()
            await apply(connection, migration)
            report(f"{migration.file} applied in {time.monotonic() - started:.2f} s")
    return [migration.file for migration in owed]


async def pending(url: str, folder: Path) -> list[str]:
    """The files that are not applied yet; changes nothing. Raises MigrationError as `migrate` does."""
    migrations = read(folder)
    async with connected(url) as connection:
        return [migration.file for migration in unapplied(migrations, await applied(connection))]


def read(folder: Path) -> list[Migration]:
    """The folder's migrations in order. MigrationError if a number is missing, doubled, or not there."""
    paths = sorted(folder.glob("*.sql"))
    if not paths:
        raise MigrationError(f"There are no migrations in {folder}.")
    migrations = [read_file(path) for path in paths]
    for expected, migration in enumerate(migrations, start=1):
        if migration.version < expected:
            raise MigrationError(f"Number {migration.version:04} is used twice, the second time by {migration.file}.")
        if migration.version > expected:
            raise MigrationError(f"Number {expected:04} is missing before {migration.file}.")
    return migrations


def read_file(path: Path) -> Migration:
    """Read with universal newlines, so that a checkout on Windows has the same checksum."""
    named = NAME.fullmatch(path.name)
    if not named:
        raise MigrationError(f"{path.name} is not named like a migration: NNNN_name.sql, from 0001, in small letters.")
    return Migration(version=int(named[1]), file=path.name, text=path.read_text(encoding="utf-8"))


def unapplied(migrations: Sequence[Migration], rows: Sequence[Mapping[str, Any]]) -> Sequence[Migration]:
    """What is still to do, once it is clear that the database and the folder tell the same story."""
    known = {migration.version: migration for migration in migrations}
    for row in rows:
        migration = known.get(row["version"])
        if migration is None:
            raise MigrationError(f"The database has {row['name']}, which is unknown here: it is newer than this code.")
        if (migration.file, migration.checksum) != (row["name"], row["checksum"]):
            raise MigrationError(
                f"{migration.file} is not what was applied as {row['name']}: put it back, and write a new migration."
            )
    if any(row["version"] > len(rows) for row in rows):
        raise MigrationError("An earlier migration was never applied though later ones were: repair schema_migrations.")
    return migrations[len(rows) :]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    with explained("The database cannot be reached"):
        connection = await AsyncConnection[DictRow].connect(
            trusting(url),
            autocommit=True,
            row_factory=dict_row,
            options=SESSION,
            connect_timeout=5,
            application_name="pinksync-migrations",
        )
    async with connection:
        yield connection


async def become_sole_runner(connection: Connection, report: Report, wait: float) -> None:
    """Holds the runners' lock until the connection ends, or raises MigrationError.

    It asks again and again instead of waiting inside the server: CREATE INDEX CONCURRENTLY in the other
    runner would wait for our waiting statement, and ours for it.
    """
    deadline = time.monotonic() + wait
    told = False
    while not await locked(connection):
        if time.monotonic() >= deadline:
            raise MigrationError(f"Another migration runner is still at work after {wait:.0f} s; try again later.")
        if not told:
            report(f"Another migration runner is at work; waiting up to {wait:.0f} s for it.")
            told = True
        await asyncio.sleep(POLL_SECONDS)


async def locked(connection: Connection) -> bool:
    with explained("The runners' lock"):
        found = await connection.execute("SELECT pg_try_advisory_lock(%s) AS ours", (LOCK,))
        return bool((await found.fetchone() or {})["ours"])


async def applied(connection: Connection) -> Sequence[Mapping[str, Any]]:
    with explained("schema_migrations"):
        table = await connection.execute("SELECT to_regclass('schema_migrations') AS known")
        if (await table.fetchone() or {})["known"] is None:
            return []
        rows = await connection.execute("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
        return await rows.fetchall()


async def apply(connection: Connection, migration: Migration) -> None:
    with explained(migration.file, migration.text):
        if migration.runs_outside:
            await apply_outside(connection, migration)
        else:
            await apply_inside(connection, migration)


async def apply_inside(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.text.encode())
        if connection.info.transaction_status is not TransactionStatus.INTRANS:
            raise MigrationError(f"{migration.file} ends its own transaction: take COMMIT or ROLLBACK out of it.")
        await record(connection, migration)


async def apply_outside(connection: Connection, migration: Migration) -> None:
    """Nobody waits behind a statement that locks no table, so here a lock may take longer to get."""
    await connection.execute("SET lock_timeout = '60s'")
    await drop_unfinished_indexes(connection, migration)
    for statement in migration.statements():
        await connection.execute(statement.encode())
    await record(connection, migration)
    await connection.execute("RESET lock_timeout")


async def drop_unfinished_indexes(connection: Connection, migration: Migration) -> None:
    """An interrupted CREATE INDEX CONCURRENTLY leaves an invalid index, which IF NOT EXISTS would then accept."""
    found = await connection.execute(
        """SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
           WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relnamespace = current_schema()::regnamespace"""
    )
    for row in await found.fetchall():
        if re.search(rf"\b{re.escape(row['name'])}\b", migration.text):
            await connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(row["name"])))


async def record(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
        (migration.version, migration.file, migration.checksum),
    )


@contextmanager
def explained(what: str, text: str = "") -> Iterator[None]:
    """psycopg's errors as one clear line. Never DETAIL, which can hold a value; never the URL."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(f"{what}: another session keeps a lock that it needs; run again later.") from error
    except psycopg.ProgrammingError as error:
        if error.sqlstate is None:
            raise MigrationError(f"{what}: the URL is not one that PostgreSQL understands.") from error
        raise MigrationError(f"{what}{line(error, text)}: {said(error)}") from error
    except psycopg.Error as error:
        raise MigrationError(f"{what}{line(error, text)}: {said(error)}") from error


def line(error: psycopg.Error, text: str) -> str:
    position = error.diag.statement_position
    return f", line {text[: int(position)].count('\n') + 1}" if position and text else ""


def said(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).partition("\n")[0]


def holds_code(part: str) -> bool:
    return any(row.strip() and not row.strip().startswith("--") for row in part.splitlines())
