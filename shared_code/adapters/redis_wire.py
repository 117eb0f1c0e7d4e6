"""Redis as all requests of a process ask it: over one connection, opened again when it is lost.

redis-py takes a connection from its pool, two timeouts and a retry for each call, and a write and a read of its own:
80 µs of processor time with 32 callers, where this takes 5 (docs/decisions/0011). redis-py's client still says where
Redis is and how to log in; hiredis reads and writes its protocol.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import redis.asyncio
from redis.asyncio.connection import Connection, SSLConnection
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ResponseError

from shared_code import telemetry
from shared_code.adapters.redis_client import PATIENCE
from shared_code.adapters.redis_line import Line, Word

RENEW_SECONDS = 60.0
"""How often a login whose password ends is repeated; Microsoft Entra's tokens are renewed minutes before their end."""

logger = logging.getLogger("pinksync.redis")


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the name that Redis knows it by once it has seen it."""

    text: str = field(repr=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@dataclass(eq=False)
class RedisWire:
    """Asks Redis for many callers at once. Opened when first needed, and again when it was lost.

    Everything here raises what redis-py would: RedisError, OSError, TimeoutError.
    """

    client: redis.asyncio.Redis = field(repr=False)
    _line: Line | None = field(default=None, repr=False)
    _opening: asyncio.Task[Line] | None = field(default=None, repr=False)
    _renewing: asyncio.Task[None] | None = field(default=None, repr=False)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Word] = ()) -> Any:
        with telemetry.span("redis script"):
            answer = await self._answer("EVALSHA", script.sha, len(keys), *keys, *args)
            if isinstance(answer, Exception) and str(answer).startswith("NOSCRIPT"):
                answer = await self._answer("EVAL", script.text, len(keys), *keys, *args)
        return good(answer)

    async def ask(self, *words: Word) -> Any:
        """One command, such as `ask("GET", name)`."""
        return good(await self._answer(*words))

    async def close(self) -> None:
        """Ends the client too. Who still waits is told that the connection is lost."""
        if self._opening:
            await asyncio.wait([self._opening])
        if self._renewing:
            self._renewing.cancel()
        if self._line:
            await self._line.close()
        await self.client.aclose()

    async def _answer(self, *words: Word) -> Any:
        """Asked again once, over another connection, when this one is lost meanwhile: it may have been long dead.

        Then what was asked may have been done twice: a request counted as two, never two as one.
        """
        line = self._line
        if line is not None and not line.closed:
            try:
                return await line.ask(*words)
            except NotConnected:
                pass
        line = await self._open()
        return await line.ask(*words)

    async def _open(self) -> Line:
        """All who need it at the same moment wait for one attempt; that one of them gives up does not end it."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._opened())
        return await asyncio.shield(self._opening)

    async def _opened(self) -> Line:
        try:
            known = cast("Connection", self.client.connection_pool.make_connection())
            login = login_of(known)
            words = await login_words(login) if login else None
            try:
                line = await opened(known, words)
            except TimeoutError:  # a busy process is late to see that it is connected
                line = await opened(known, words)
            if self._renewing:
                self._renewing.cancel()
            if known.credential_provider and login:
                self._renewing = asyncio.create_task(renew(line, login))
            self._line = line
            return line
        finally:
            self._opening = None


def good(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise ResponseError(str(answer))
    return answer


def login_of(known: Connection) -> CredentialProvider | None:
    """What redis-py would log in with."""
    if known.credential_provider:
        return known.credential_provider
    if known.password:
        return UsernamePasswordCredentialProvider(known.username, known.password)
    return None


async def login_words(login: CredentialProvider) -> Sequence[str]:
    """Getting a token may take longer than Redis may: the patience with Redis does not hold here."""
    try:
        return ("AUTH", *await login.get_credentials_async())
    except Exception as error:  # whatever the library that gets the tokens raises
        raise NotConnected("there is nothing to log in with") from error


async def opened(known: Connection, login: Sequence[str] | None) -> Line:
    patience = known.socket_timeout or PATIENCE
    secured = known.ssl_context.get() if isinstance(known, SSLConnection) else None
    async with asyncio.timeout(known.socket_connect_timeout):
        _, line = await asyncio.get_running_loop().create_connection(
            lambda: Line(patience), known.host, known.port, ssl=secured
        )
    greeting: list[Sequence[Word]] = [login] if login else []
    greeting.append(("SELECT", known.db))
    try:
        for words in greeting:
            good(await line.ask(*words))
    except BaseException:
        line.end()
        raise
    return line


async def renew(line: Line, login: CredentialProvider) -> None:
    """Logs in again and again while the connection lives. One that cannot is ended: the next caller opens another."""
    while not line.closed:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            good(await line.ask(*await login_words(login)))
        except Exception as error:
            logger.warning("redis could not be logged in to again (%s); the connection is ended", type(error).__name__)
            await line.close()
