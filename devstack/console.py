"""What the person in front of the terminal reads: one plain line per step."""

import os
import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

DIM, GREEN, RED, BOLD, PLAIN = "\033[2m", "\033[32m", "\033[31m", "\033[1m", "\033[0m"


@dataclass(slots=True)
class Console:
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    began: float = field(default_factory=time.monotonic)

    def headline(self, text: str) -> None:
        self.say(self.in_colour(BOLD, text))

    def step(self, name: str, what: str, seconds: float) -> None:
        self.say(f"  {name:<9} {what:<49} {self.in_colour(GREEN, 'ready')} {seconds:>5.1f} s")

    def note(self, name: str, text: str) -> None:
        """Something that happened while the stack runs."""
        moment = self.in_colour(DIM, time.strftime("%H:%M:%S"))
        self.say(f"  {moment} {name}: {text}")

    def say(self, text: str = "") -> None:
        self.write(self.out, text)

    def fail(self, text: str) -> None:
        self.write(self.err, self.in_colour(RED, text, self.err))

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def in_colour(self, colour: str, text: str, to: TextIO | None = None) -> str:
        plain = os.environ.get("NO_COLOR") or not (to or self.out).isatty()
        return text if plain else f"{colour}{text}{PLAIN}"

    @staticmethod
    def write(to: TextIO, text: str) -> None:
        """A reader who has gone (`make run | head`) is no reason to stop the stack."""
        try:
            print(text, file=to, flush=True)
        except OSError:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), to.fileno())
