"""One process of the stack: how it is described, started, watched and stopped."""

import http.client
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

ROOT = Path(__file__).resolve().parent.parent
CHILD = Path(__file__).with_name("child.py")
LOG_LIMIT = 10 * 1024 * 1024


class StackError(Exception):
    """The stack cannot start. The message is one line: what is wrong, and what to do."""


def nothing() -> None:
    """A part that needs no preparation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the stack: what it is, how to run it, how to tell that it serves."""

    name: str
    title: str
    port: int
    command: Sequence[str] = field(repr=False)
    log: Path
    is_ready: Callable[[], bool] = field(repr=False)
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    prepare: Callable[[], None] = field(default=nothing, repr=False)
    """Run before each start: makes folders and files that the command needs."""
    account: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(slots=True)
class Process:
    """A started command, at the head of a process group of its own."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def ask_to_stop(self) -> None:
        if self.alive():
            self.popen.send_signal(self.stop_signal)
            signal_group(self.pid, signal.SIGCONT)  # someone may have paused it

    def kill(self) -> None:
        """Ends the process and whatever is left of its group, and waits for it."""
        signal_group(self.pid, signal.SIGKILL)
        self.popen.wait()

    def stop(self, grace: float = 5.0) -> None:
        self.ask_to_stop()
        try:
            self.popen.wait(grace)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def last_words(self) -> str:
        return last_line(self.log)


def start(part: Part) -> Process:
    """Starts a part. Call it from a thread that outlives the part: on Linux the part dies with that thread."""
    part.prepare()
    popen = spawn(part.command, log=part.log, env=part.env, account=part.account, death_signal=part.stop_signal)
    return Process(part.name, popen, part.log, part.stop_signal)


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    account: str | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    stdout: Literal["log", "terminal", "nowhere"] = "log",
) -> subprocess.Popen[bytes]:
    """Runs a command that dies with this process. Its errors go to the log, what it prints there or elsewhere."""
    wrapper = [sys.executable, "-I", "-S", str(CHILD), str(os.getpid()), str(int(death_signal)), account or "-"]
    with open_log(log) as output:
        return subprocess.Popen(
            [*wrapper, *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout={"log": output, "terminal": None, "nowhere": subprocess.DEVNULL}[stdout],
            stderr=output,
            start_new_session=True,
        )


def run_to_end(process: subprocess.Popen[bytes], timeout: float) -> int:
    """The exit code of a short command; StackError when it takes too long."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired as error:
        raise StackError(f"A command did not end within {timeout:.0f} s: {process.args}") from error
    finally:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(part: Part, process: Process, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not part.is_ready():
        if not process.alive():
            raise StackError(failure(process))
        if time.monotonic() > deadline:
            process.kill()
            raise StackError(f"{part.name} did not answer within {timeout:.0f} s. Log: {part.log}")
        time.sleep(0.02)


def http_status(port: int, path: str, *, trust: Path | None = None) -> int | None:
    """The status of one GET on loopback, or None when nobody answers; over TLS where a certificate is to be trusted."""
    if trust:
        context = ssl.create_default_context(cafile=trust)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def failure(process: Process) -> str:
    return f"{process.name} stopped ({outcome(process.popen)}): {process.last_words()}. Log: {process.log}"


def outcome(popen: subprocess.Popen[bytes]) -> str:
    code = popen.returncode
    if code is None:
        return "still running"
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.open("ab")


def rotate_log(path: Path) -> None:
    """Keeps one old log once the current one has grown past 10 MB."""
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        shutil.move(path, path.with_name(path.name + ".1"))


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    try:
        tail = path.read_bytes()[-4096:].decode(errors="replace")
    except OSError:
        return "no log"
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
