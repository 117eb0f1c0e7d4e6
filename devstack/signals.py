"""Waiting that ends at once when someone asks the stack to stop, or when a child process ends."""

import select
import signal
import socket
from types import TracebackType
from typing import Self

ASKS_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Ctrl-C, SIGTERM or a closed terminal: not a failure."""


class Signals:
    """Takes the signals of this process for as long as it is entered."""

    def __init__(self) -> None:
        self.asked = 0
        self.reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)
        self.reader.setblocking(False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self.writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in ASKS_TO_STOP:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup keeps its meaning
                signal.signal(number, lambda *_: self.ask())
        return self

    def ask(self) -> None:
        self.asked += 1

    def wait(self, seconds: float) -> None:
        """Waits so long, or less when something happens. Raises Stopped once someone has asked."""
        self.check()
        self.pause(seconds)
        self.check()

    def check(self) -> None:
        if self.asked:
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Waits without minding who asks."""
        readable, _, _ = select.select([self.reader], [], [], seconds)
        if readable:
            self.reader.recv(4096)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *ASKS_TO_STOP):
            signal.signal(number, signal.SIG_DFL)
        self.reader.close()
        self.writer.close()
