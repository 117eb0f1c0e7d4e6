"""A server that answers whatever bytes it is told to, and remembers what it was asked.

with Liar() as liar:
    liar.tells(answer(200, b"[]", "Cache-Control: private"))
    httpx.get(liar.url)
    assert liar.heard[0].method == "GET"
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request. Header names are lower case; of a name that came twice the last value counts."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


type Lie = Callable[[Heard], Iterable[bytes]]
"""What is sent, piece by piece; the connection is closed after the last one."""


def answer(status: int, body: bytes, *headers: str, length: int | None = None) -> Lie:
    """An answer as it should be, but for what the headers say; `length` is what it claims to be long."""
    phrase = HTTPStatus(status).phrase if status in HTTPStatus else "Odd"
    measured = f"Content-Length: {len(body) if length is None else length}"
    head = [f"HTTP/1.1 {status} {phrase}", measured, "Connection: close", *headers]
    return lambda heard: ["\r\n".join([*head, "", ""]).encode("latin-1"), body]


def json_answer(body: bytes, *headers: str, status: int = 200) -> Lie:
    return answer(status, body, "Content-Type: application/json", *headers)


class Liar:
    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.lie: Lie = json_answer(b"[]")
        liar = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    liar.serve(self)

        self.server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def tells(self, lie: Lie) -> None:
        """From now on; what was heard before is forgotten."""
        self.lie = lie
        self.heard.clear()

    def serve(self, connection: StreamRequestHandler) -> None:
        heard = read_request(connection)
        if heard:
            self.heard.append(heard)
            for piece in self.lie(heard):
                connection.wfile.write(piece)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def read_request(connection: StreamRequestHandler) -> Heard | None:
    """None when the caller hung up before it asked for anything."""
    words = connection.rfile.readline().decode("latin-1").split()
    if len(words) != 3:
        return None
    headers = dict(read_headers(connection))
    body = connection.rfile.read(int(headers.get("content-length", "0")))
    return Heard(method=words[0], target=words[1], headers=headers, body=body)


def read_headers(connection: StreamRequestHandler) -> Iterator[tuple[str, str]]:
    while line := connection.rfile.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        yield name.strip().lower(), value.strip()
