"""Redis with an Entra token for a password: each connection logs in with a fresh one, and again before it ends.

redis-py's pool does the second login, on connections that are idle and on those in use when they are given back.
Redis has a library for the rest (redis-entraid), but its async side asks for tokens in a blocking call, and stops
renewing after one failure (docs/decisions/0018).
"""

import asyncio
import json
import logging
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.auth.token import SimpleToken
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from shared_code.adapters.azure_identity import Token
from shared_code.adapters.redis_client import PATIENCE, connect

AHEAD_SECONDS = 240.0
"""How long before its end a token is replaced. azure-identity gives a new one from 300 s before."""
AGAIN_SECONDS = 30.0

type Listener = Callable[[SimpleToken], Awaitable[None]]

logger = logging.getLogger("pinksync.redis")


@dataclass(eq=False)
class EntraCredentials(CredentialProvider):
    user: str
    """The object id of the identity; empty: whatever the token says it is."""
    token: Callable[[], Awaitable[Token]]
    listeners: list[Listener] = field(default_factory=list[Listener])
    """Told of each new token, for the connections that are open."""
    _held: Token | None = None
    _got: asyncio.Event = field(default_factory=asyncio.Event)
    _renewing: asyncio.Task[None] | None = None

    async def get_credentials_async(self) -> tuple[str, str]:
        """Raises AuthenticationError if there is no token yet; a request does not wait for the identity service."""
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew_for_ever())
        try:
            async with asyncio.timeout(PATIENCE):
                await self._got.wait()
        except TimeoutError as error:
            raise AuthenticationError("there is no token yet") from error
        assert self._held  # noqa: S101 - it is there from the first one on
        return self._named(self._held), self._held.text

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
        except Exception as error:  # whatever it is, it must not end the renewal
            logger.warning("no token for redis (%s)", type(error.__cause__ or error).__name__)
            return AGAIN_SECONDS if self._held else 1.0
        before, self._held = self._held, token
        self._got.set()
        if before and before.text != token.text:
            await self._tell(token)
        left = token.expires_at - time.time()
        return max(left - AHEAD_SECONDS, min(AGAIN_SECONDS, left / 2), 1.0)

    async def _tell(self, token: Token) -> None:
        told = SimpleToken(token.text, token.expires_at * 1000, time.time() * 1000, {"oid": self._named(token)})
        for listener in self.listeners:
            try:
                await listener(told)
            except Exception as error:  # a dead connection; its next use opens another, with the new token
                logger.warning("a connection to redis did not take its new token (%s)", type(error).__name__)

    def _named(self, token: Token) -> str:
        return self.user or object_id(token.text)


def object_id(token: str) -> str:
    """The claim `oid` of a JWT; read, not verified: Redis does that."""
    payload = token.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["oid"]


def connect_as(login: EntraCredentials, url: str) -> Redis:
    """A client whose connections the login opens, and opens again before a token ends."""
    client = connect(without_user(url)[0], login)
    login.listeners.append(client.connection_pool.re_auth_callback)
    return client


def without_user(url: str) -> tuple[str, str]:
    """The URL without its user, and the user."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), unquote(parts.username or "")
