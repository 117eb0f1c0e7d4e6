"""The timers' ledger in PostgreSQL: a session-level advisory lock for each run, on one connection kept for this.

The server frees the locks when the connection ends, so a killed process leaves none behind. Such locks must not
go through a pooler that shares connections between transactions. State is written without waiting for the disk:
a crash of the server forgets the last moments of it, and no work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

from psycopg.rows import dict_row

from shared_code.adapters.azure_identity import Token
from shared_code.adapters.postgres_rows import trusting
from shared_code.adapters.postgres_store import SESSION, TranslatingConnection, translated
from shared_code.model import TimerResult, TimerRun, TimerState

KEPT = 200
"""Runs of each timer that stay in the ledger at most."""
OPTIONS = f"{SESSION} -c synchronous_commit=off -c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5"

BEGIN = """WITH lock AS MATERIALIZED (SELECT pg_try_advisory_lock(%(key)s) AS taken)
INSERT INTO timers (name, known_since, last_start) SELECT %(name)s, %(now)s, %(now)s FROM lock WHERE taken
ON CONFLICT (name) DO UPDATE SET last_start = excluded.last_start RETURNING name"""

END = """WITH state AS (
  UPDATE timers SET last_end = %(ended_at)s, last_result = %(result)s, last_rows = %(rows)s, last_error = %(error)s
  WHERE name = %(name)s)
SELECT pg_advisory_unlock(%(key)s)"""

SKIPPED = "UPDATE timers SET last_skipped_at = %(started_at)s WHERE name = %(name)s"

KEEP = """WITH kept AS (
  INSERT INTO timer_runs (name, result, rows, error, by_hand, started_at, ended_at)
  VALUES (%(name)s, %(result)s, %(rows)s, %(error)s, %(by_hand)s, %(started_at)s, %(ended_at)s))
DELETE FROM timer_runs WHERE name = %(name)s
  AND id <= (SELECT id FROM timer_runs WHERE name = %(name)s ORDER BY id DESC OFFSET %(kept)s - 1 LIMIT 1)"""

KNOW = """INSERT INTO timers (name, known_since) SELECT name, %(now)s FROM unnest(%(names)s::text[]) AS named (name)
ON CONFLICT (name) DO NOTHING"""

STATES = """SELECT timers.*, EXISTS (
  SELECT FROM pg_locks, unnest(%(names)s::text[], %(keys)s::bigint[]) AS asked (name, key)
  WHERE asked.name = timers.name AND locktype = 'advisory' AND objsubid = 1 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = asked.key) AS running
FROM timers WHERE name = ANY (%(names)s)"""

RECENT = """SELECT recent.* FROM timers CROSS JOIN LATERAL (
  SELECT name, result, rows, error, by_hand, started_at, ended_at FROM timer_runs
  WHERE timer_runs.name = timers.name ORDER BY id DESC LIMIT %(limit)s) AS recent"""


@dataclass(slots=True, eq=False)
class PostgresTimerLedger:
    url: str = field(repr=False)
    token: Callable[[], Awaitable[Token]] | None = None
    """Where each new connection gets its password, if the URL has none."""
    _connection: TranslatingConnection | None = None
    _connecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _here: set[str] = field(default_factory=set[str])
    """Timers that run in this process: a session may take its own advisory lock twice."""

    async def begin(self, name: str, now: datetime) -> bool:
        if name in self._here:
            return False
        self._here.add(name)
        begun = False
        try:
            begun = bool(await self._rows(BEGIN, name=name, key=lock_number(name), now=now))
        finally:
            if not begun:
                self._here.discard(name)
        return begun

    async def end(self, run: TimerRun) -> None:
        values = asdict(run) | {"key": lock_number(run.name), "kept": KEPT}
        try:
            if run.worth_keeping:
                await self._rows(KEEP, **values)
            await self._rows(END, **values)
        finally:
            self._here.discard(run.name)

    async def skipped(self, run: TimerRun) -> None:
        values = asdict(run) | {"kept": KEPT}
        await self._rows(SKIPPED, **values)
        if run.worth_keeping:
            await self._rows(KEEP, **values)

    async def states(self, names: Iterable[str], now: datetime) -> Mapping[str, TimerState]:
        wanted = list(names)
        values = {"names": wanted, "keys": [lock_number(name) for name in wanted], "now": now}
        rows = await self._rows(STATES, **values)
        if len(rows) < len(wanted):
            await self._rows(KNOW, **values)
            rows = await self._rows(STATES, **values)
        return {row["name"]: state_of(row) for row in rows}

    async def recent(self, limit: int) -> Mapping[str, Sequence[TimerRun]]:
        found: dict[str, list[TimerRun]] = {}
        for row in await self._rows(RECENT, limit=limit):
            found.setdefault(row["name"], []).append(run_of(row))
        return found

    async def close(self) -> None:
        if self._connection:
            await self._connection.close()
            self._connection = None

    async def _rows(self, statement: str, **values: Any) -> Sequence[dict[str, Any]]:
        connection = await self._ready()
        try:
            with translated():
                done = await connection.execute(statement, values)
                return await done.fetchall() if done.description else []
        except BaseException:
            await self.close()  # whatever lock is in doubt goes with the connection
            raise

    async def _ready(self) -> TranslatingConnection:
        """The one connection; a new one when the old one broke, which freed the locks it held."""
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                password = (await self.token()).text if self.token else None
                with translated():
                    self._connection = await TranslatingConnection.connect(
                        trusting(self.url),
                        password=password,
                        autocommit=True,
                        row_factory=dict_row,  # pyright: ignore[reportArgumentType] - as the class says
                        options=OPTIONS,
                        connect_timeout=2,
                        application_name="pinksync timers",
                    )
            return self._connection


def lock_number(name: str) -> int:
    """A positive 63-bit number, so that pg_locks shows it as it is."""
    return int.from_bytes(blake2b(f"timer {name}".encode(), digest_size=8).digest()) >> 1


def state_of(row: Mapping[str, Any]) -> TimerState:
    result = row["last_result"]
    return TimerState(**{**row, "last_result": TimerResult(result) if result else None})


def run_of(row: Mapping[str, Any]) -> TimerRun:
    return TimerRun(**{**row, "result": TimerResult(row["result"])})
