"""The one Redis client of a process, its failures as one, and what to do while it is down."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

PATIENCE = 0.1
PAUSE_SECONDS = 2.0

logger = logging.getLogger("pinksync.redis")


class RedisDown(Exception):
    """Redis did not answer in time."""


FAILURES = (RedisError, OSError, TimeoutError)
"""What it is to the libraries."""


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise RedisDown(type(error).__name__) from error


def connect(url: str, credentials: CredentialProvider | None = None) -> redis.asyncio.Redis:
    """Fails in a tenth of a second where the library's defaults would block for 4.5 (facts/security.md 0.6).

    With `credentials` the URL must name no user: they do.
    """
    return redis.asyncio.Redis.from_url(
        url,
        credential_provider=credentials,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        max_connections=256,
    )


@dataclass(eq=False, slots=True)
class Outage:
    """Whether Redis is worth asking. After a failure it is left alone for two seconds: an outage costs nothing."""

    _skip_until: float = 0.0

    @property
    def on(self) -> bool:
        return time.monotonic() < self._skip_until

    async def either[T](self, shared: Callable[[], Awaitable[T]], local: Callable[[], Awaitable[T]]) -> T:
        """What Redis says, or while it is down what this process knows."""
        try:
            return await self.reach(shared)
        except RedisDown:
            return await local()

    async def reach[T](self, shared: Callable[[], Awaitable[T]]) -> T:
        """What Redis says. Raises RedisDown, at once while it is known to be down."""
        if self.on:
            raise RedisDown("it was down a moment ago")
        return await self.insist(shared)

    async def insist[T](self, shared: Callable[[], Awaitable[T]]) -> T:
        """The same, for what must not be left out because of a moment ago."""
        try:
            return await shared()
        except RedisDown as error:
            self.begin(error)
            raise

    def begin(self, error: RedisDown) -> None:
        if not self.on:
            logger.warning("redis does not answer (%s); serving from this process's memory", error)
        self._skip_until = time.monotonic() + PAUSE_SECONDS
