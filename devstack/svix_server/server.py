"""Puts the parts together; the only place that knows them all."""

import asyncio
from contextlib import suppress
from pathlib import Path

from devstack.svix_server import operational
from devstack.svix_server.auth import Tokens
from devstack.svix_server.dispatcher import Dispatcher
from devstack.svix_server.fanout import Fanout
from devstack.svix_server.faults import Faults
from devstack.svix_server.housekeeping import keep_house
from devstack.svix_server.idempotency import IdempotentReplies
from devstack.svix_server.operational import OperationalWebhooks
from devstack.svix_server.outcome import Outcomes
from devstack.svix_server.settings import Settings
from devstack.svix_server.store import Store
from devstack.svix_server.task_queue import TaskQueue
from devstack.svix_server.webhook_client import WebhookClient

DRAIN_SECONDS = 2.0


class SvixServer:
    """Needs a running event loop from `start` on."""

    dispatcher: Dispatcher

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.store = Store(directory)
        self.tokens = Tokens(settings.jwt_secret)
        self.faults = Faults()
        self.queue = TaskQueue(self.store)
        self.fanout = Fanout(self.store, self.queue)
        self.operational = OperationalWebhooks(self.fanout, self.faults)
        self.replies = IdempotentReplies(self.store)

    async def start(self) -> None:
        operational.seed(self.store)
        self._client = WebhookClient(timeout=self.settings.request_timeout, allow_loopback=self.settings.allow_loopback)
        outcomes = Outcomes(self.store, self.queue, self.operational, self.settings)
        self.dispatcher = Dispatcher(self.queue, self._client, outcomes)
        self.dispatcher.start()
        self._house = asyncio.create_task(keep_house(self.store))

    async def stop(self) -> None:
        self._house.cancel()
        with suppress(asyncio.CancelledError):
            await self._house
        await self.dispatcher.drain(DRAIN_SECONDS)
        await self._client.close()
        await self.store.committed()
        self.store.close()
