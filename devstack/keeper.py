"""Keeps one part of the stack running: starts it again after it died, unless a person did so first."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import psutil

from devstack.kept import listens
from devstack.process import Part, Process, StackError, outcome, start

TIME_TO_START = 60.0


class State(StrEnum):
    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    BY_HAND = "by hand"
    """Someone else's process answers on the part's port: left alone."""


@dataclass(slots=True)
class Keeper:
    part: Part
    process: Process
    pid: int
    """Of the process that serves, or served last."""
    restart_seconds: float
    note: Callable[[str, str], None]
    state: State = State.STARTING
    due: float = 0.0
    """When to act next: to start again while down, to give up while starting."""

    @property
    def ours(self) -> bool:
        return self.state is not State.BY_HAND

    def look(self, now: float) -> bool:
        """Sees to the part; says whether anything changed."""
        before = self.state
        match before:
            case State.UP:
                self.while_up(now)
            case State.STARTING:
                self.while_starting(now)
            case State.DOWN:
                self.while_down(now)
            case State.BY_HAND:
                self.while_by_hand(now)
        return self.state is not before

    def while_up(self, now: float) -> None:
        if not self.process.alive():
            self.mourn(now, f"stopped ({outcome(self.process.popen)})")

    def while_starting(self, now: float) -> None:
        if not self.process.alive():
            self.mourn(now, f"stopped again ({outcome(self.process.popen)}: {self.process.last_words()})")
        elif self.part.is_ready():
            self.pid, self.state = self.process.pid, State.UP
            self.tell(f"is back (pid {self.pid})")
        elif now > self.due:
            self.mourn(now, f"does not answer after {TIME_TO_START:.0f} s")

    def while_down(self, now: float) -> None:
        if now < self.due:
            return
        if listens(self.part.port):
            self.pid, self.state = listener(self.part.port) or self.pid, State.BY_HAND
            self.tell(f"was started by hand (pid {self.pid}); left alone")
            return
        self.start_again(now)

    def while_by_hand(self, now: float) -> None:
        if not psutil.pid_exists(self.pid) and not listens(self.part.port):
            self.state, self.due = State.DOWN, now + self.restart_seconds
            self.tell(f"(started by hand) stopped; starting it again in {self.restart_seconds:g} s")

    def start_again(self, now: float) -> None:
        try:
            self.process = start(self.part)
        except (StackError, OSError) as error:
            self.due = now + self.restart_seconds
            self.tell(f"cannot be started: {error}")
        else:
            self.state, self.due = State.STARTING, now + TIME_TO_START

    def mourn(self, now: float, what: str) -> None:
        self.process.kill()
        self.state, self.due = State.DOWN, now + self.restart_seconds
        self.tell(f"{what}; starting it again in {self.restart_seconds:g} s")

    def tell(self, text: str) -> None:
        self.note(self.part.name, text)


def listener(port: int) -> int | None:
    """The process that listens on a loopback port, where the system lets us see it."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    at_port = (each for each in connections if each.laddr and each.laddr.port == port)
    return next((each.pid for each in at_port if each.status == psutil.CONN_LISTEN), None)
