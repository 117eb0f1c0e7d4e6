"""Xano telling PinkSync of a change (facts section 5 and section 7.4, item 12). Off until switched on.

After a write it posts to the gateway's `POST /api/events` **once**: unordered, no retry. Each event is also
an outbox row, written with the change; only the outbox task, off by default, ever sends a lost one again.
"""

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from typing import Any

import httpx
import orjson
from pydantic import BaseModel, ConfigDict, Field

from devstack.xano_server.store import Row, Shelf, Store

log = logging.getLogger(__name__)


class EventSettings(BaseModel):
    """What `PUT /_devstack/events` takes: where to, with which key, and how often the outbox task runs (0: never)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern="^https?://")
    api_key: str = Field(min_length=1)
    outbox_seconds: float = Field(default=0, ge=0)


class Events:
    def __init__(self, store: Store, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._store = store
        self._transport = transport
        self._settings: EventSettings | None = None
        self._client: httpx.AsyncClient | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def switch_on(self, settings: EventSettings) -> None:
        await self.switch_off()
        self._settings = settings
        self._client = httpx.AsyncClient(
            transport=self._transport,
            headers={"Authorization": f"Bearer {settings.api_key}"},
            timeout=5,
            trust_env=False,
        )
        if settings.outbox_seconds:
            self._start(self._outbox_task(settings.outbox_seconds))

    async def switch_off(self) -> None:
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        if self._client:
            await self._client.aclose()
        self._settings = self._client = None

    def note(self, shelf: Shelf, action: str, row: Row) -> tuple[str, bytes] | None:
        """Called inside the transaction of the write."""
        event_type = shelf.table.events.get(action)
        if self._settings is None or event_type is None:
            return None
        event_id = f"xano-{uuid.uuid4().hex}"
        event = {"event_id": event_id, "event_type": event_type, "payload": row, "partner_id": shelf.partner_id}
        body = orjson.dumps(event)
        self._store.put_in_outbox(event_id, body)
        return event_id, body

    def post(self, noted: tuple[str, bytes] | None) -> None:
        """Called after the commit, like `util.post_process` (facts section 5.3)."""
        if noted:
            self._start(self._post(*noted))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _outbox_task(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            for event_id, body in self._store.outbox():
                await self._post(event_id, body)

    async def _post(self, event_id: str, body: bytes) -> None:
        if self._settings is None or self._client is None:
            return
        try:
            headers = {"Content-Type": "application/json"}
            answer = await self._client.post(self._settings.url, content=body, headers=headers)
            answer.raise_for_status()
        except httpx.HTTPError as problem:
            log.warning("event %s was not taken: %s", event_id, problem or type(problem).__name__)
        else:
            self._store.take_from_outbox(event_id)
