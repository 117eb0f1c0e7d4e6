"""The system of record on PostgreSQL: pool, transactions, and the translation of psycopg's errors.

Timeouts and session settings: facts/security.md 2.13. The pool opens at first use, never at import.
"""

import asyncio
import select
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import _WaitTimeout  # pyright: ignore[reportPrivateUsage] - no public name for it
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from shared_code import errors, telemetry
from shared_code.adapters.azure_identity import Token
from shared_code.adapters.postgres_api_keys import PostgresApiKeys
from shared_code.adapters.postgres_audit import PostgresAuditTrail, PostgresChainHeads
from shared_code.adapters.postgres_deliveries import PostgresDeliveries
from shared_code.adapters.postgres_endpoints import PostgresEndpoints
from shared_code.adapters.postgres_events import PostgresEvents, PostgresEventTypes
from shared_code.adapters.postgres_figures import PostgresFigures
from shared_code.adapters.postgres_inbox import PostgresInboundSecrets, PostgresInbox
from shared_code.adapters.postgres_oauth import (
    PostgresOAuthConnections,
    PostgresOAuthLinks,
    PostgresOAuthProviders,
    PostgresOAuthStates,
)
from shared_code.adapters.postgres_outbox import PostgresOutbox
from shared_code.adapters.postgres_partners import PostgresPartners
from shared_code.adapters.postgres_publications import PostgresPublications
from shared_code.adapters.postgres_replies import PostgresReplies
from shared_code.adapters.postgres_retention import PostgresRetention
from shared_code.adapters.postgres_reviews import PostgresReviews
from shared_code.adapters.postgres_rows import Connection, trusting
from shared_code.adapters.postgres_sealed import PostgresSealed
from shared_code.adapters.postgres_sync_jobs import PostgresSyncJobs
from shared_code.adapters.postgres_sync_records import PostgresSyncRecords
from shared_code.adapters.postgres_sync_sources import PostgresSyncSources
from shared_code.adapters.postgres_users import PostgresUsers
from shared_code.ports import Action, Transaction

SESSION = "-c statement_timeout=5000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000 -c timezone=UTC"
CONNECT: dict[str, Any] = {
    "autocommit": True,
    "row_factory": dict_row,
    "options": SESSION,
    "connect_timeout": 2,
    "application_name": "pinksync",
}
WAIT_SECONDS = 2.0
SILENCE_SECONDS = 6.0
"""Longer than any statement may take; after that the server is taken for hung."""
CHECK_SECONDS = 1.0
FRESH_SECONDS = 1.0
MAX_WAITING = 200


def tables(connection: Connection, after_commit: Callable[[Action], None]) -> Transaction:
    return Transaction(
        partners=PostgresPartners(connection),
        keys=PostgresApiKeys(connection),
        endpoints=PostgresEndpoints(connection),
        event_types=PostgresEventTypes(connection),
        events=PostgresEvents(connection),
        deliveries=PostgresDeliveries(connection),
        publications=PostgresPublications(connection),
        outbox=PostgresOutbox(connection),
        audit=PostgresAuditTrail(connection),
        audit_heads=PostgresChainHeads(connection),
        replies=PostgresReplies(connection),
        users=PostgresUsers(connection),
        reviews=PostgresReviews(connection),
        inbox=PostgresInbox(connection),
        inbound_secrets=PostgresInboundSecrets(connection),
        oauth_providers=PostgresOAuthProviders(connection),
        oauth_links=PostgresOAuthLinks(connection),
        oauth_states=PostgresOAuthStates(connection),
        connections=PostgresOAuthConnections(connection),
        retention=PostgresRetention(connection),
        sealed=PostgresSealed(connection),
        jobs=PostgresSyncJobs(connection),
        sources=PostgresSyncSources(connection),
        records=PostgresSyncRecords(connection),
        figures=PostgresFigures(connection),
        after_commit=after_commit,
    )


def not_here(action: Action) -> None:
    raise RuntimeError("a read commits nothing; open a transaction")


def check_unbroken(connection: Connection) -> None:
    """After a failure that somebody swallowed, COMMIT would roll back and say nothing."""
    if connection.info.transaction_status is TransactionStatus.INERROR:
        raise errors.PinkSyncError("Something failed in this transaction and was passed over; it is rolled back.")


async def configure(connection: Connection) -> None:
    """jsonb writes 1e300 out in full, which Python's reader would make an int that no JSON writer takes."""
    set_json_loads(orjson.loads, connection)


async def alive(connection: "TranslatingConnection") -> None:
    """psycopg's own check, which after a restart of the server loses no request (security.md 2.13).

    It is a question and its answer. One that was used a moment ago is only looked at: a connection that the server
    has ended has something to read, and one that is well has nothing.
    """
    if time.monotonic() - connection.used_at < FRESH_SECONDS and not readable(connection.pgconn.socket):
        return
    connection.patience = CHECK_SECONDS
    await AsyncConnectionPool.check_connection(connection)  # pyright: ignore[reportArgumentType] - rows play no part
    connection.patience = SILENCE_SECONDS


def readable(socket: int) -> bool:
    looking = select.poll()
    looking.register(socket, select.POLLIN)
    return bool(looking.poll(0))


@contextmanager
def translated() -> Iterator[None]:
    """psycopg's errors as ours, with the cause kept. Never its text: DETAIL can hold a value (security.md 0.12)."""
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        raise errors.Conflict("That is already there.") from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise errors.NotFound() from error
    except (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError) as error:
        raise errors.InvalidBody("A value does not fit where it is to be stored.") from error
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise errors.StoreUnavailable(
            "Another change to the same thing is under way.", headers={"Retry-After": "1"}
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TooManyRequests) as error:
        telemetry.DATABASE_ERRORS.add()
        raise errors.StoreUnavailable(headers={"Retry-After": "5"}) from error
    except psycopg.Error as error:
        raise errors.PinkSyncError() from error


class TranslatingConnection(AsyncConnection[DictRow]):
    """Its failures are ours where they happen, so that a service inside a transaction meets no other kind."""

    patience: float = SILENCE_SECONDS
    used_at: float = 0.0
    """When the server last answered on it, by the monotonic clock."""

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """A server that has stopped answering enforces no statement_timeout; this ends the connection instead."""
        try:
            answer = await super().wait(gen, interval, timeout or self.patience)
        except _WaitTimeout:
            self.pgconn.finish()
            raise
        self.used_at = time.monotonic()
        return answer

    async def execute(self, *args: Any, **kwargs: Any) -> AsyncCursor[DictRow]:  # pyright: ignore[reportIncompatibleMethodOverride]
        with translated():
            return await super().execute(*args, **kwargs)


@dataclass(slots=True, eq=False)
class Open:
    """A transaction to join, until it ends; a task that outlives it must not."""

    transaction: Transaction
    ended: bool = False


@dataclass(eq=False)
class PostgresStore:
    url: str = field(repr=False)
    pool_size: int = 4
    token: Callable[[], Awaitable[Token]] | None = None
    """Where each new connection gets its password, if the URL has none."""
    _pool: AsyncConnectionPool[TranslatingConnection] | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _open: ContextVar[Open | None] = field(default_factory=lambda: ContextVar("pinksync_transaction", default=None))

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        joined = self._joined()
        return already(joined) if joined else self._begin()

    def single(self) -> AbstractAsyncContextManager[Transaction]:
        return self.reading()  # its connection commits each statement by itself: no BEGIN, no COMMIT

    def inside(self) -> bool:
        return self._joined() is not None

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        joined = self._joined()
        return already(joined) if joined else self._read()

    def _joined(self) -> Transaction | None:
        opened = self._open.get()
        return opened.transaction if opened and not opened.ended else None

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[Transaction]:
        actions: list[Action] = []
        with telemetry.span("postgresql transaction"), translated():
            pool = await self._ready()
            async with pool.connection() as connection, connection.transaction():
                opened = Open(tables(connection, actions.append))
                token = self._open.set(opened)
                try:
                    yield opened.transaction
                finally:
                    opened.ended = True
                    self._open.reset(token)
                check_unbroken(connection)
        for action in actions:
            await action()

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[Transaction]:
        with telemetry.span("postgresql reading"), translated():
            pool = await self._ready()
            async with pool.connection() as connection:
                yield tables(connection, not_here)

    async def ping(self) -> None:
        with translated():
            pool = await self._ready()
            async with pool.connection() as connection:
                await connection.execute("SELECT 1")

    async def close(self) -> None:
        if self._pool:
            await self._pool.close()
            self._pool = None

    async def _ready(self) -> AsyncConnectionPool[TranslatingConnection]:
        if self._pool is None:
            async with self._opening:
                if self._pool is None:
                    pool = self._new_pool()
                    await pool.open(wait=False)
                    self._pool = pool
        return self._pool

    async def _connect(self) -> dict[str, Any]:
        """Asked for each connection anew: a token lives for an hour, a connection keeps what it was opened with."""
        password = {"password": (await self.token()).text} if self.token else {}
        return CONNECT | password

    def _new_pool(self) -> AsyncConnectionPool[TranslatingConnection]:
        return AsyncConnectionPool(
            trusting(self.url),
            connection_class=TranslatingConnection,
            kwargs=self._connect,
            min_size=1,
            max_size=self.pool_size,
            timeout=WAIT_SECONDS,
            max_waiting=MAX_WAITING,
            reconnect_timeout=5.0,
            configure=configure,
            check=alive,
            open=False,
        )


@asynccontextmanager
async def already(transaction: Transaction) -> AsyncGenerator[Transaction]:
    """The transaction that is open; whoever opened it ends it."""
    yield transaction
