"""Attempts still to be made, on disk first, then told to whoever makes them."""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from devstack.svix_server import clock
from devstack.svix_server.attempt import Trigger
from devstack.svix_server.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`attempt_count`: scheduled attempts made before this one."""

    id: int
    msg_id: str
    endpoint_id: str
    trigger: Trigger
    attempt_count: int
    due: int


class TaskQueue:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._listener: Callable[[Task], None] | None = None

    def listen(self, listener: Callable[[Task], None]) -> None:
        """Called with each task as soon as it is on disk."""
        self._listener = listener

    def put(self, msg_id: str, endpoint_id: str, trigger: Trigger, attempt_count: int, due: int) -> None:
        """Within the caller's transaction."""
        cursor = self._store.db.execute(
            "INSERT INTO task (msg_id, endpoint_id, trigger_type, attempt_count, due) VALUES (?, ?, ?, ?, ?)",
            (msg_id, endpoint_id, trigger, attempt_count, due),
        )
        self._announce(
            Task(
                id=cursor.lastrowid or 0,
                msg_id=msg_id,
                endpoint_id=endpoint_id,
                trigger=trigger,
                attempt_count=attempt_count,
                due=due,
            )
        )

    def put_manual(self, endpoint_id: str, msg_ids: Iterable[str]) -> int:
        """One manual attempt for each message; how many that are."""
        count = 0
        for msg_id in msg_ids:
            self.put(msg_id, endpoint_id, Trigger.MANUAL, 0, clock.now())
            count += 1
        return count

    def remove(self, task: Task) -> None:
        self._store.db.execute("DELETE FROM task WHERE id = ?", (task.id,))

    def all(self) -> list[Task]:
        return [_task(row) for row in self._store.db.execute("SELECT * FROM task ORDER BY due")]

    def _announce(self, task: Task) -> None:
        if self._listener is not None:
            self._store.after_commit(partial(self._listener, task))


def _task(row: sqlite3.Row) -> Task:
    return Task(
        id=row["id"],
        msg_id=row["msg_id"],
        endpoint_id=row["endpoint_id"],
        trigger=Trigger(row["trigger_type"]),
        attempt_count=row["attempt_count"],
        due=row["due"],
    )
