"""The one SQLite database, and group commit.

Everything runs on one event loop, so there is one connection and no lock. A change opens a transaction
if none is open; the commit comes with the loop's next turn, so requests that arrive together share it.
Nobody is answered, and nothing is delivered, before `committed()` returns.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.svix_server.tables import TABLES


class StoreError(Exception):
    """One line that says why the data directory cannot be used."""


class Store:
    def __init__(self, directory: Path) -> None:
        self.db = _open(directory)
        self._commit_done: asyncio.Future[None] | None = None
        self._after_commit: list[Callable[[], None]] = []

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block or nothing of it; no `await` inside."""
        self._begin()
        callbacks = len(self._after_commit)
        self.db.execute("SAVEPOINT change")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK TO change")
            self.db.execute("RELEASE change")
            del self._after_commit[callbacks:]
            raise
        self.db.execute("RELEASE change")

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call it once the open transaction is on disk; never if it fails."""
        self._after_commit.append(callback)

    async def committed(self) -> None:
        """Returns when everything written so far is durable."""
        if self._commit_done is not None:
            await asyncio.shield(self._commit_done)

    def close(self) -> None:
        if self._commit_done is not None:
            self._commit()
        self.db.close()

    def _begin(self) -> None:
        if self._commit_done is None:
            loop = asyncio.get_running_loop()
            self.db.execute("BEGIN IMMEDIATE")
            self._commit_done = loop.create_future()
            loop.call_soon(self._commit)

    def _commit(self) -> None:
        done, callbacks = self._commit_done, self._after_commit
        if done is None:
            return
        self._commit_done, self._after_commit = None, []
        try:
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            self.db.rollback()
            done.set_exception(error)
            return
        done.set_result(None)
        for callback in callbacks:
            callback()


def _open(directory: Path) -> sqlite3.Connection:
    path = directory / "svix.sqlite3"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=0.3, isolation_level=None, cached_statements=512)
        db.row_factory = sqlite3.Row
        # One process only: a second server on the same data would deliver everything twice.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(TABLES)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot use {path}: {error} (is another server using it?)") from error
    return db
