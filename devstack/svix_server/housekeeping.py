"""Deletes what has expired, in bounded batches."""

import asyncio
import logging

from devstack.svix_server import clock
from devstack.svix_server.store import Store

_EVERY_SECONDS = 600
_BATCH = 2_000

_EXPIRED = (
    "DELETE FROM idempotent_reply WHERE key IN (SELECT key FROM idempotent_reply WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM message_header WHERE msg_id IN (SELECT msg_id FROM content WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM content WHERE msg_id IN (SELECT msg_id FROM content WHERE expires_at < ? LIMIT ?)",
)

_log = logging.getLogger(__name__)


async def keep_house(store: Store) -> None:
    """Runs until cancelled."""
    while True:
        try:
            for statement in _EXPIRED:
                await _delete_expired(store, statement)
        except Exception:
            _log.exception("could not delete what has expired")
        await asyncio.sleep(_EVERY_SECONDS)


async def _delete_expired(store: Store, statement: str) -> None:
    deleted = _BATCH
    while deleted == _BATCH:
        with store.transaction() as db:
            deleted = db.execute(statement, (clock.now(), _BATCH)).rowcount
        await store.committed()
