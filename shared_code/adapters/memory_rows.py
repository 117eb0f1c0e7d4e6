"""What the in-memory adapters share: tables, row locks, and transactions that behave as PostgreSQL's do.

A transaction sees what is committed and what it wrote itself. It holds each row that it wrote or locked until it
ends; others wait for it, or skip it. There is no await between looking and writing, so the event loop is all the
mutual exclusion this needs: one store serves one loop.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from shared_code import errors
from shared_code.adapters.memory_rules import fresh, stored
from shared_code.model import MOST_COUNTED, Listing, Page

WAIT_SECONDS = 2.0
"""As PostgreSQL's lock_timeout in the store."""


@dataclass(frozen=True, slots=True)
class Row[R]:
    """A record and its number, which grows with each row of the table."""

    number: int
    record: R


@dataclass(slots=True, eq=False)
class Table[K: Hashable, R]:
    committed: dict[K, Row[R]] = field(default_factory=dict[K, Row[R]])
    last_number: int = 0

    def next_number(self) -> int:
        """Taken for good, even if the transaction is rolled back: so does a sequence."""
        self.last_number += 1
        return self.last_number


@dataclass(slots=True, eq=False)
class Locks:
    """Who holds which row until its transaction ends."""

    patience: float = WAIT_SECONDS
    holders: dict[Hashable, "Session"] = field(default_factory=dict[Hashable, "Session"])
    waiting: list[asyncio.Future[None]] = field(default_factory=list[asyncio.Future[None]])

    def take(self, name: Hashable, session: "Session") -> bool:
        return self.holders.setdefault(name, session) is session

    async def wait(self, name: Hashable, session: "Session") -> None:
        """Raises StoreUnavailable when the holder takes too long."""
        try:
            async with asyncio.timeout(self.patience):
                while not self.take(name, session):
                    freed = asyncio.get_running_loop().create_future()
                    self.waiting.append(freed)
                    await freed
        except TimeoutError as error:
            raise errors.StoreUnavailable(
                "Another change to the same thing is under way.", headers={"Retry-After": "1"}
            ) from error

    def free(self, session: "Session") -> None:
        self.holders = {name: holder for name, holder in self.holders.items() if holder is not session}
        woken, self.waiting = self.waiting, []
        for freed in woken:
            if not freed.done():
                freed.set_result(None)


@dataclass(slots=True, eq=False)
class Session:
    """One transaction, or with `read_only` the reads outside of any."""

    locks: Locks
    reach: Callable[[], None]
    """Raises StoreUnavailable while the store is down."""
    read_only: bool = False
    failed: bool = False
    ended: bool = False
    written: dict[Table[Any, Any], dict[Any, Row[Any] | None]] = field(
        default_factory=dict[Table[Any, Any], dict[Any, Row[Any] | None]]
    )
    """None stands for a row that was removed."""

    def use(self, *, writing: bool) -> None:
        """Refuses what a database would refuse or, worse, would do in nobody's transaction."""
        self.reach()
        if self.ended:
            raise RuntimeError("This transaction has ended.")
        if writing and self.read_only:
            raise RuntimeError("reading() is for reads: this needs transaction().")
        if self.failed:
            raise errors.PinkSyncError("Something failed in this transaction before; it can only be rolled back.")

    def refuse(self, error: errors.PinkSyncError) -> errors.PinkSyncError:
        """The error to raise; after it, this transaction can only be rolled back."""
        self.failed = True
        return error

    def commit(self) -> None:
        self.use(writing=not self.read_only)
        for table, rows in self.written.items():
            table.committed = present(table.committed | rows)
        self.end()

    def end(self) -> None:
        """What was written and not committed is forgotten."""
        self.ended = True
        self.locks.free(self)


@dataclass(frozen=True, slots=True)
class View[K: Hashable, R]:
    """A table as one session sees it."""

    table: Table[K, R]
    session: Session

    def get(self, key: K) -> R | None:
        self.session.use(writing=False)
        row = self._row(key)
        return fresh(row.record) if row else None

    def rows(self) -> Sequence[Row[R]]:
        self.session.use(writing=False)
        return list(self._visible().values())

    def items(self) -> Sequence[tuple[K, R]]:
        self.session.use(writing=False)
        return [(key, row.record) for key, row in self._visible().items()]

    def numbered(self) -> Sequence[tuple[K, Row[R]]]:
        self.session.use(writing=False)
        return list(self._visible().items())

    async def lock(self, key: K) -> R | None:
        """The record, which nobody else changes until the transaction ends; waits for whoever does now."""
        self.session.use(writing=True)
        try:
            await self.session.locks.wait((self.table, key), self.session)
        except errors.StoreUnavailable as error:
            raise self.session.refuse(error) from error
        return self.get(key)

    def take(self, key: K) -> bool:
        """Locks at once, or answers False: another transaction is at it."""
        self.session.use(writing=True)
        return self.session.locks.take((self.table, key), self.session)

    async def insert(self, key: K, record: R) -> bool:
        """False, and nothing is stored, if the key is there, or comes from a transaction now under way."""
        if await self.lock(key) is not None:
            return False
        self._write(key, Row(self.table.next_number(), self._checked(record)))
        return True

    async def add(self, key: K, record: R) -> None:
        if not await self.insert(key, record):
            raise self.session.refuse(errors.Conflict("That is already there."))

    def append(self: "View[int, R]", make: Callable[[int], R]) -> int:
        """Adds a record under the next number, which it may hold itself."""
        self.session.use(writing=True)
        number = self.table.next_number()
        self.session.locks.take((self.table, number), self.session)
        self._write(number, Row(number, self._checked(make(number))))
        return number

    def put(self, key: K, record: R) -> None:
        """Changes a row that this session has locked and that is there."""
        row = self._row(key)
        assert row, "only a row that is there is changed"  # noqa: S101
        self._write(key, Row(row.number, self._checked(record)))

    async def remove(self, key: K) -> None:
        await self.lock(key)
        self._write(key, None)

    def require(self, key: K) -> None:
        """For references: refuses what would belong to something that is not there."""
        if self.get(key) is None:
            raise self.session.refuse(errors.NotFound())

    def _row(self, key: K) -> Row[R] | None:
        written = self.session.written.get(self.table, {})
        return written[key] if key in written else self.table.committed.get(key)

    def _visible(self) -> dict[K, Row[R]]:
        return present(self.table.committed | self.session.written.get(self.table, {}))

    def _checked(self, record: R) -> R:
        try:
            return stored(record)
        except errors.InvalidBody as error:
            raise self.session.refuse(error) from error

    def _write(self, key: K, row: Row[R] | None) -> None:
        self.session.written.setdefault(self.table, {})[key] = row


def present(rows: Mapping[Any, Row[Any] | None]) -> dict[Any, Row[Any]]:
    return {key: row for key, row in rows.items() if row is not None}


class Dated(Protocol):
    @property
    def created_at(self) -> datetime: ...


def listing[R: Dated](rows: Iterable[Row[R]], page: Page) -> Listing[R]:
    """One page of these rows, newest first, by (created_at, number)."""
    ordered = sorted(rows, key=position, reverse=True)
    after = [row for row in ordered if page.after is None or position(row) < page.after][page.offset :]
    shown = after[: page.limit]
    following = position(shown[-1]) if len(after) > page.limit else None
    return Listing(items=[fresh(row.record) for row in shown], total=min(len(ordered), MOST_COUNTED), next=following)


def position(row: Row[Any]) -> tuple[datetime, int]:
    return row.record.created_at, row.number


def in_period(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or since <= at) and (until is None or at < until)


def wanted(*pairs: tuple[object, object]) -> bool:
    """Whether each value is the one asked for; None asks for any."""
    return all(asked is None or asked == value for asked, value in pairs)
