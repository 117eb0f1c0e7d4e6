"""Replies kept for twelve hours under their idempotency key (facts/svix.md §2, Idempotency).

The body is not compared: the same key with another body gets the first reply.
"""

import asyncio
import hashlib

from devstack.svix_server import clock
from devstack.svix_server.reply import Reply
from devstack.svix_server.store import Store

_KEPT = 12 * 3_600 * clock.SECOND
_TWIN_WAITS_SECONDS = 5


def key(authorization: str, idempotency_key: str, uri: str) -> bytes:
    return hashlib.sha256(f"{authorization}:{idempotency_key}:{uri}".encode()).digest()


class IdempotentReplies:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[bytes, asyncio.Event] = {}

    async def claim(self, key: bytes) -> Reply | None:
        """The kept reply; or None, and the caller is the one who must answer, then `release`."""
        twin = self._under_way.get(key)
        while twin is not None:
            try:
                await asyncio.wait_for(twin.wait(), _TWIN_WAITS_SECONDS)
            except TimeoutError:
                break
            twin = self._under_way.get(key)
        kept = self._kept(key)
        if kept is None:
            self._under_way[key] = asyncio.Event()
        return kept

    def keep(self, key: bytes, reply: Reply) -> None:
        """Within the transaction that the reply tells of."""
        self._store.db.execute(
            "INSERT OR REPLACE INTO idempotent_reply VALUES (?, ?, ?, ?)",
            (key, reply.status, reply.body, clock.now() + _KEPT),
        )

    def release(self, key: bytes) -> None:
        event = self._under_way.pop(key, None)
        if event is not None:
            event.set()

    def _kept(self, key: bytes) -> Reply | None:
        row = self._store.db.execute(
            "SELECT status, body FROM idempotent_reply WHERE key = ? AND expires_at > ?", (key, clock.now())
        ).fetchone()
        return None if row is None else Reply(status=row["status"], body=row["body"])
