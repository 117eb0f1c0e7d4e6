"""A connection to Redis that many ask over at once: what is asked in one turn of the loop leaves in one write."""

import asyncio
import logging
import time
from collections import deque
from typing import Any, cast

import hiredis
from redis.exceptions import ConnectionError as NotConnected

GRACE_SECONDS = 0.01
OF_THE_CONNECTION = ("NOAUTH", "READONLY", "LOADING", "MASTERDOWN")
"""Errors that another connection may not have: the login has ended, or this server is not the first one any more."""

type Word = str | int | bytes

logger = logging.getLogger("pinksync.redis")


class Line(asyncio.Protocol):
    """The connection itself. Answers come in the order of the questions; whatever breaks that order ends it.

    A silence longer than `patience` seconds while something is asked ends it too: a Redis that hangs fails all who
    wait, at the same time.
    """

    def __init__(self, patience: float) -> None:
        self.closed = False
        self._patience = patience
        self._reader = hiredis.Reader()
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._unsent: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._heard = 0.0
        self._watching = False
        self._late = False

    def ask(self, *words: Word) -> asyncio.Future[Any]:
        """Gives Redis's answer, which may be an error. Raises NotConnected when the connection ends first."""
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
        self._heard = time.monotonic()
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                future, _ = self._asked.popleft()
                if isinstance(answer, hiredis.ReplyError) and str(answer).startswith(OF_THE_CONNECTION):
                    self._transport.abort()
                    fail(future, NotConnected(str(answer)))
                elif not future.done():  # its caller may have given up
                    future.set_result(answer)
        except (hiredis.ProtocolError, IndexError):
            logger.error("redis sent what is no answer to any question; the connection is ended")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._lost.set_result(None)
        while self._asked:
            fail(self._asked.popleft()[0], NotConnected("lost"))

    def _send(self) -> None:
        text, self._unsent = b"".join(self._unsent), []
        if self.closed:
            return
        self._transport.write(text)
        if not self._watching:
            self._watching, self._late = True, False
            self._loop.call_later(self._patience, self._watch)

    def _watch(self) -> None:
        """One timer for all questions. While answers come, a late one is no sign of a Redis that hangs."""
        self._watching = bool(self._asked) and not self.closed
        if not self._watching:
            return
        left = max(self._asked[0][1], self._heard) + self._patience - time.monotonic()
        if left > 0:
            self._late = False
            self._loop.call_later(left, self._watch)
        elif self._late:
            logger.warning("redis said nothing for %.2f s; the connection is ended", self._patience)
            self._transport.abort()
        else:  # this process may have been busy: what has come meanwhile is read first
            self._late = True
            self._loop.call_later(GRACE_SECONDS, self._watch)


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
