"""The load generator for machines without wrk: asyncio protocols on uvloop, one per connection."""

import asyncio
import gc
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast

import httptools
import uvloop

from benchmarks.load import PATIENCE, Load


def run(host: str, wires: Sequence[bytes], connections: int, seconds: float) -> Load:
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured(host, wires, connections, seconds))


async def measured(host: str, wires: Sequence[bytes], connections: int, seconds: float) -> Load:
    tally = Tally(cycle(wires), time.perf_counter() + seconds)
    began = time.perf_counter()
    await asyncio.gather(*(keep_calling(host, tally) for _ in range(connections)))
    return tally.load(time.perf_counter() - began)


async def keep_calling(host: str, tally: "Tally") -> None:
    """One caller; a connection that ends too early is counted and opened anew."""
    address, _, port = host.partition(":")
    loop = asyncio.get_running_loop()
    while not tally.over():
        caller = Caller(tally, loop.create_future())
        try:
            transport, _ = await loop.create_connection(lambda caller=caller: caller, address, int(port))
        except OSError:
            tally.broken += 1
            await asyncio.sleep(0.1)
            continue
        with suppress(TimeoutError):
            left = max(0.0, tally.until - time.perf_counter())
            await asyncio.wait_for(caller.ended, left + PATIENCE)
        tally.broken += caller.waiting
        transport.close()


@dataclass(slots=True)
class Tally:
    wires: Iterator[bytes]
    until: float
    statuses: Counter[int] = field(default_factory=Counter[int])
    latencies: array[float] = field(default_factory=lambda: array("d"))
    broken: int = 0

    def over(self) -> bool:
        return time.perf_counter() >= self.until

    def load(self, seconds: float) -> Load:
        ordered = sorted(self.latencies) or [0.0]
        p50, p95, p99 = (ordered[int(part * (len(ordered) - 1))] * 1000 for part in (0.50, 0.95, 0.99))
        refused = sum(count for status, count in self.statuses.items() if status >= 400)
        answers = self.statuses.total()
        return Load(seconds=seconds, answers=answers, refused=refused, broken=self.broken, p50=p50, p95=p95, p99=p99)


class Caller(asyncio.Protocol):
    def __init__(self, tally: Tally, ended: asyncio.Future[None]) -> None:
        self.tally = tally
        self.ended = ended
        self.waiting = False
        self._sent = 0.0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_complete(self) -> None:
        """httptools calls this when a whole answer has come."""
        self.waiting = False
        self.tally.latencies.append(time.perf_counter() - self._sent)
        self.tally.statuses[self._parser.get_status_code()] += 1
        if self.tally.over():
            self._end()
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _ask(self) -> None:
        self.waiting = True
        self._sent = time.perf_counter()
        self._transport.write(next(self.tally.wires))

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
