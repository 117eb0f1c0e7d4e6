"""Redis with an Entra token for a password, for whoever logs in, and logs in again (redis_wire.py).

Redis has a library for this (redis-entraid), but its async side asks for tokens in a call that blocks the loop, and
one failed renewal ends the renewals (docs/decisions/0018).
"""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from shared_code import errors
from shared_code.adapters.azure_identity import Token
from shared_code.adapters.redis_client import PATIENCE


@dataclass(eq=False)
class EntraCredentials(CredentialProvider):
    user: str
    """The object id of the identity; empty: whatever the token says it is."""
    token: Callable[[], Awaitable[Token]]
    _held: Token | None = field(default=None, repr=False)
    _asking: asyncio.Future[Token] | None = None

    async def get_credentials_async(self) -> tuple[str, str]:
        """The token of the moment; while a new one cannot be had in time, the last one.

        Raises AuthenticationError if there is none yet. A request does not wait for the identity service: it is
        asked in the background, and who comes later has the answer.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self.token())
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        with suppress(TimeoutError, errors.Unavailable):
            async with asyncio.timeout(PATIENCE):
                self._held = await asyncio.shield(self._asking)
        if self._held is None:
            raise AuthenticationError("there is no token yet")
        return self.user or object_id(self._held.text), self._held.text

    async def close(self) -> None:
        if self._asking:
            self._asking.cancel()


def object_id(token: str) -> str:
    """The claim `oid` of a JWT; read, not verified: Redis does that."""
    payload = token.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["oid"]


def without_user(url: str) -> tuple[str, str]:
    """The URL without its user, and the user."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), unquote(parts.username or "")
