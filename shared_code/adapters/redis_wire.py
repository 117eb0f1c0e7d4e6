"""One connection to Redis that all requests of a process share: what is asked at one moment leaves in one write.

redis-py takes a connection from its pool, two timeouts and a retry for each call, and a write and a read of its own:
80 µs of processor time with 32 callers, where this takes 5 (docs/decisions/0011). redis-py's client still says where
Redis is and how to log in; hiredis reads and writes its protocol.
"""

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis
import redis.asyncio
from redis.asyncio.connection import Connection, SSLConnection
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ResponseError

GRACE_SECONDS = 0.01
RENEW_SECONDS = 60.0
"""How often a login whose password ends is repeated; Microsoft Entra's tokens are renewed minutes before their end."""

OF_THE_CONNECTION = ("NOAUTH", "READONLY", "LOADING", "MASTERDOWN")
"""Errors that another connection may not have: the login has ended, or this server is not the first one any more."""

type Word = str | int | bytes

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
    _line: "Line | None" = field(default=None, repr=False)
    _opening: "asyncio.Task[Line] | None" = field(default=None, repr=False)
    _renewing: asyncio.Task[None] | None = field(default=None, repr=False)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Word] = ()) -> Any:
        line = self._line
        if line is None or line.closed:
            line = await self._open()
        answer = await line.ask("EVALSHA", script.sha, len(keys), *keys, *args)
        if isinstance(answer, Exception) and str(answer).startswith("NOSCRIPT"):
            answer = await line.ask("EVAL", script.text, len(keys), *keys, *args)
        return good(line, answer)

    async def ask(self, *words: Word) -> Any:
        """One command, such as `ask("GET", name)`."""
        line = self._line
        if line is None or line.closed:
            line = await self._open()
        return good(line, await line.ask(*words))

    async def close(self) -> None:
        """Ends the client too. Who still waits is told that the connection is lost."""
        if self._opening:
            await asyncio.wait([self._opening])
        if self._renewing:
            self._renewing.cancel()
        if self._line:
            await self._line.close()
        await self.client.aclose()

    async def _open(self) -> "Line":
        """All who need it at the same moment wait for one attempt; that one of them gives up does not end it."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._opened())
        return await asyncio.shield(self._opening)

    async def _opened(self) -> "Line":
        try:
            known = cast("Connection", self.client.connection_pool.make_connection())
            login = login_of(known)
            words = await login_words(login) if login else None
            line = await opened(known, words)
            if self._renewing:
                self._renewing.cancel()
            if known.credential_provider and login:
                self._renewing = asyncio.create_task(renew(line, login))
            self._line = line
            return line
        finally:
            self._opening = None


class Line(asyncio.Protocol):
    """The connection itself. Answers come in the order of the questions; whatever breaks that order ends it.

    A silence longer than `patience` seconds ends it too: a Redis that hangs fails all who wait, at the same time.
    """

    def __init__(self, patience: float) -> None:
        self.closed = False
        self._patience = patience
        self._reader = hiredis.Reader()
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._unsent: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._watching = False
        self._late = False

    def ask(self, *words: Word) -> asyncio.Future[Any]:
        """Gives Redis's answer, an error of its own included. Raises NotConnected when the connection ends first."""
        answer = self._loop.create_future()
        if self.closed:
            answer.set_exception(NotConnected("closed"))
            return answer
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(words))  # pyright: ignore[reportArgumentType] - its stub is too narrow
        self._asked.append((answer, time.monotonic()))
        return answer

    def end(self) -> None:
        """At once; `connection_lost` follows, and with it the bad news to all who wait."""
        if not self.closed:
            self._transport.abort()

    async def close(self) -> None:
        self.end()
        await self._lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                future, _ = self._asked.popleft()
                if not future.done():  # its caller may have given up
                    future.set_result(answer)
        except (hiredis.ProtocolError, IndexError):
            logger.error("redis sent what is no answer to any question; the connection is ended")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._lost.set_result(None)
        while self._asked:
            future, _ = self._asked.popleft()
            if not future.done():
                future.set_exception(NotConnected("lost"))

    def _send(self) -> None:
        text, self._unsent = b"".join(self._unsent), []
        if self.closed:
            return
        self._transport.write(text)
        if not self._watching:
            self._watching = True
            self._loop.call_later(self._patience, self._watch)

    def _watch(self) -> None:
        """One look at the oldest question, instead of a timer for each."""
        self._watching = bool(self._asked) and not self.closed
        if not self._watching:
            return
        left = self._asked[0][1] + self._patience - time.monotonic()
        if left > 0:
            self._late = False
            self._loop.call_later(left, self._watch)
        elif self._late:
            logger.warning("redis said nothing for %.2f s; the connection is ended", self._patience)
            self._transport.abort()
        else:  # this process may have been busy: what has come meanwhile is read first
            self._late = True
            self._loop.call_later(GRACE_SECONDS, self._watch)


def good(line: Line, answer: Any) -> Any:
    if not isinstance(answer, Exception):
        return answer
    if str(answer).startswith(OF_THE_CONNECTION):
        line.end()
    raise ResponseError(str(answer))


def login_of(known: Connection) -> CredentialProvider | None:
    """What redis-py would log in with."""
    if known.credential_provider:
        return known.credential_provider
    if known.password:
        return UsernamePasswordCredentialProvider(known.username, known.password)
    return None


async def login_words(login: CredentialProvider) -> Sequence[str]:
    """Getting a token may take longer than Redis may: the patience with Redis does not hold here."""
    return ("AUTH", *await login.get_credentials_async())


async def opened(known: Connection, login: Sequence[str] | None) -> Line:
    patience = known.socket_timeout
    assert patience, "connect() sets one"  # noqa: S101
    secured = known.ssl_context.get() if isinstance(known, SSLConnection) else None
    async with asyncio.timeout(known.socket_connect_timeout):
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: Line(patience), known.host, known.port, ssl=secured)
        greeting: list[Sequence[Word]] = [login] if login else []
        greeting.append(("SELECT", known.db))
        try:
            for answer in await asyncio.gather(*(line.ask(*words) for words in greeting)):
                good(line, answer)
        except BaseException:
            await line.close()
            raise
    return line


async def renew(line: Line, login: CredentialProvider) -> None:
    """Logs in again and again while the connection lives. One that cannot is ended: the next caller opens another."""
    while not line.closed:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            good(line, await line.ask(*await login_words(login)))
        except Exception as error:
            logger.warning("redis could not be logged in to again (%s); the connection is ended", type(error).__name__)
            await line.close()
