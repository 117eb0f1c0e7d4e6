"""An HTTP server that keeps the webhooks it gets."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from devstack.svix_server.testing.waiting import eventually

_HOLDS_AT_MOST_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Inbox:
    """What came to one path, and what it answers: the statuses in turn, the last one for ever."""

    url: str
    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=lambda: [204])
    answer_body: bytes = b""
    hold: threading.Event | None = None

    def first(self) -> Received:
        """Waits for it."""
        return eventually(lambda: self.received)[0]

    def message_ids(self) -> list[str]:
        return [received.headers["svix-id"] for received in self.received]

    def take(self, received: Received) -> int:
        self.received.append(received)
        if self.hold is not None:
            self.hold.wait(_HOLDS_AT_MOST_SECONDS)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


class Receiver:
    def __init__(self) -> None:
        self._server = _HttpServer()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def inbox(self, *statuses: int) -> Inbox:
        """A new path of its own."""
        path = f"/inbox/{len(self._server.inboxes)}"
        inbox = Inbox(f"http://127.0.0.1:{self._server.server_address[1]}{path}")
        inbox.statuses = list(statuses) or inbox.statuses
        self._server.inboxes[path] = inbox
        return inbox

    def close(self) -> None:
        for inbox in self._server.inboxes.values():
            if inbox.hold is not None:
                inbox.hold.set()
        self._server.shutdown()
        self._server.server_close()


class _HttpServer(ThreadingHTTPServer):
    # The default of 5 makes the sixth of many deliveries at once wait a second for its connection.
    request_queue_size = 256
    daemon_threads = True

    def __init__(self) -> None:
        self.inboxes: dict[str, Inbox] = {}
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        assert isinstance(self.server, _HttpServer)  # noqa: S101 (for tests)
        inbox = self.server.inboxes[self.path.partition("?")[0]]
        self.send_response(inbox.take(Received(self.path, headers, body)))
        self.send_header("content-length", str(len(inbox.answer_body)))
        self.end_headers()
        self.wfile.write(inbox.answer_body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True
