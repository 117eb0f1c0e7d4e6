"""Redis with an Entra token for a password: each connection logs in with a fresh one, and again before it ends.

redis-py does the second login on its connections, pooled and in use, when a provider streams credentials. Microsoft
and Redis have such a provider (redis-entraid), but its async side asks for tokens in a blocking call, and stops
renewing after one failure (docs/decisions/0011).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from redis.auth.token import SimpleToken
from redis.credentials import StreamingCredentialProvider
from redis.exceptions import AuthenticationError

from shared_code import errors
from shared_code.adapters.azure_identity import Token

AHEAD_SECONDS = 240.0
"""How long before its end a token is replaced. azure-identity gives a new one from 300 s before."""
AGAIN_SECONDS = 30.0
PATIENCE = 0.1
"""As long as Redis itself may take: a request does not wait for the identity service."""

type Listener = Callable[[SimpleToken], Awaitable[None]]

logger = logging.getLogger("pinksync.redis")


@dataclass(eq=False)
class EntraCredentials(StreamingCredentialProvider):
    user: str
    token: Callable[[], Awaitable[Token]]
    _listeners: list[Listener] = field(default_factory=list[Listener])
    _held: Token | None = None
    _got: asyncio.Event = field(default_factory=asyncio.Event)
    _renewing: asyncio.Task[None] | None = None

    async def get_credentials_async(self) -> tuple[str, str]:
        """Raises AuthenticationError while there is no token yet."""
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew_for_ever())
        try:
            async with asyncio.timeout(PATIENCE):
                await self._got.wait()
        except TimeoutError as error:
            raise AuthenticationError("there is no token yet") from error
        assert self._held  # noqa: S101 - it is there from the first one on
        return self.user, self._held.text

    def on_next(self, callback: Any) -> None:
        self._listeners.append(callback)

    def on_error(self, callback: Any) -> None:
        """Nobody is told: the renewal goes on, and a connection that Redis then closes is opened anew."""

    def is_streaming(self) -> bool:
        return self._renewing is not None

    async def close(self) -> None:
        if self._renewing:
            self._renewing.cancel()

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(await self._renew())

    async def _renew(self) -> float:
        """Answers in how many seconds to do it again."""
        try:
            token = await self.token()
        except errors.Unavailable as error:
            logger.warning("no token for redis (%s)", type(error.__cause__).__name__)
            return AGAIN_SECONDS if self._held else 1.0
        before, self._held = self._held, token
        self._got.set()
        if before and before.text != token.text:
            await self._tell(token)
        left = token.expires_at - time.time()
        return max(left - AHEAD_SECONDS, min(AGAIN_SECONDS, left / 2), 1.0)

    async def _tell(self, token: Token) -> None:
        told = SimpleToken(token.text, token.expires_at * 1000, time.time() * 1000, {"oid": self.user})
        for listener in self._listeners:
            try:
                await listener(told)
            except Exception as error:  # a dead connection; its next use opens another, with the new token
                logger.warning("a connection to redis did not take its new token (%s)", type(error).__name__)


def without_user(url: str) -> tuple[str, str]:
    """The URL without its user, and the user."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), unquote(parts.username or "")
