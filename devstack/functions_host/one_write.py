"""Uvicorn's HTTP protocol, with head and body of an answer in one write.

Uvicorn writes them one after the other and uvloop makes a system call of each: a quarter of the time of an
empty call (measured). Kestrel, the real host's server, sends them together too.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_STATUS_LINE = b"HTTP/1.1 "
# A client that asked for it sends no body before it has this.
_GO_ON = b"HTTP/1.1 100 "


class OneWriteProtocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own signature
        super().connection_made(cast("asyncio.Transport", _HeadHolder(transport)))

    def on_response_complete(self) -> None:
        cast("_HeadHolder", self.transport).flush()
        super().on_response_complete()


class _HeadHolder:
    """Keeps back what begins an answer until the next write, the end of the answer or the end of the connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        if self._head:
            self._transport.write(self._head + data)
            self._head = b""
        elif data.startswith(_STATUS_LINE) and not data.startswith(_GO_ON):
            self._head = data
        else:
            self._transport.write(data)

    def flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()
