"""Accepts a message and gives it to the endpoints that listen (facts/svix.md §2, Fan-out)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from devstack.svix_server import clock, endpoint, ids, message
from devstack.svix_server.attempt import Trigger
from devstack.svix_server.message import Message
from devstack.svix_server.store import Store
from devstack.svix_server.task_queue import TaskQueue

DEFAULT_RETENTION_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """`payload` is exactly what will be signed and sent."""

    event_type: str
    payload: bytes
    event_id: str | None = None
    channels: list[str] | None = None
    retention_days: int = DEFAULT_RETENTION_DAYS
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Fanout:
    """Message, destinations and tasks go in one transaction: accepted means it will be delivered."""

    store: Store
    queue: TaskQueue

    def accept(self, app_id: str, new: NewMessage) -> Message:
        """To every enabled endpoint that listens to its type and channels."""
        accepted = self._insert(app_id, new)
        listening = [
            one.id for one in endpoint.enabled(self.store.db, app_id) if one.listens_to(new.event_type, new.channels)
        ]
        self._send(accepted, listening)
        return accepted

    def accept_for(self, app_id: str, new: NewMessage, endpoint_id: str) -> Message:
        """To one endpoint, whatever it listens to, as an example is sent."""
        accepted = self._insert(app_id, new)
        self._send(accepted, [endpoint_id])
        return accepted

    def send_missing(self, endpoint_id: str, msg_ids: Iterable[str]) -> int:
        """Makes an endpoint a destination of messages it never got; how many."""
        now, count = clock.now(), 0
        for msg_id in msg_ids:
            self._add_destination(msg_id, endpoint_id, now)
            count += 1
        return count

    def _insert(self, app_id: str, new: NewMessage) -> Message:
        now = clock.now()
        accepted = Message(
            id=ids.new_id(ids.MESSAGE, now),
            app_id=app_id,
            event_id=new.event_id,
            event_type=new.event_type,
            channels=new.channels,
            created_at=now,
            payload=new.payload,
        )
        message.insert(self.store.db, accepted, expires_at=now + new.retention_days * clock.DAY)
        message.insert_headers(self.store.db, accepted, new.headers)
        return accepted

    def _send(self, accepted: Message, endpoint_ids: Iterable[str]) -> None:
        for endpoint_id in endpoint_ids:
            self._add_destination(accepted.id, endpoint_id, accepted.created_at)

    def _add_destination(self, msg_id: str, endpoint_id: str, due: int) -> None:
        self.store.db.execute(
            "INSERT OR REPLACE INTO destination (endpoint_id, msg_id, next_attempt) VALUES (?, ?, ?)",
            (endpoint_id, msg_id, due),
        )
        self.queue.put(msg_id, endpoint_id, Trigger.SCHEDULED, 0, due)
