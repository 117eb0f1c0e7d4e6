"""The load generator: so many callers on kept connections, each asking again as soon as it has its answer.

It is `wrk` where that is on the path, else a small client of our own (client.py), which needs more of the
machine: figures of the two must not be compared. All traffic goes to loopback.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

SCRIPT = Path(__file__).with_name("load.lua")
PATIENCE = 10
"""Seconds until an answer counts as missing."""


class CannotMeasure(Exception):
    """The message is one line: what could not be measured, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    method: str = "GET"
    body: bytes = b""

    def wire(self, host: str) -> bytes:
        """The whole request as it goes over the connection."""
        headers = {"Host": host, **self.headers}
        if self.body:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run of the generator saw. Percentiles are milliseconds."""

    seconds: float
    answers: int
    refused: int
    """Of the answers, those of a status of 400 and above."""
    broken: int
    """Connections refused or cut, and answers that did not come in time."""
    p50: float
    p95: float
    p99: float

    @property
    def good(self) -> int:
        return self.answers - self.refused

    @property
    def per_second(self) -> float:
        """Good answers only."""
        return self.good / self.seconds

    @property
    def faults(self) -> Mapping[str, int]:
        """What went wrong, and how often; nothing when all went well."""
        found = {"4xx, 5xx": self.refused, "no answer": self.broken}
        return {kind: count for kind, count in found.items() if count}


def generator() -> str:
    """Which one measures here."""
    return "wrk" if shutil.which("wrk") else "benchmarks/client.py"


def run(base_url: str, requests: Sequence[Request], *, connections: int, seconds: float) -> Load:
    """Asks for `requests` in turn, over and over. Raises CannotMeasure when no good answer came at all."""
    host = urlsplit(base_url).netloc
    wires = [request.wire(host) for request in requests]
    if generator() == "wrk":
        load = by_wrk(base_url, wires, connections, seconds)
    else:
        from benchmarks import client

        load = client.run(host, wires, connections, seconds)
    if not load.good:
        raise CannotMeasure(f"{requests[0].method} {requests[0].path} got no good answer: {dict(load.faults)}")
    return load


def by_wrk(base_url: str, wires: Sequence[bytes], connections: int, seconds: float) -> Load:
    with tempfile.NamedTemporaryFile(prefix="pinksync-load-") as file:
        file.write(b"".join(wire + b"\0" for wire in wires))
        file.flush()
        options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={PATIENCE}s"]
        command = ["wrk", *options, "-s", str(SCRIPT), base_url, "--", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotMeasure(f"wrk failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-200:]}")
    return Load(**json.loads(done.stdout.splitlines()[-1]))
