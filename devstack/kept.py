"""The state folder: claimed by one stack at a time; its small private files; the ports that one of them remembers."""

import fcntl
import json
import os
import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.process import StackError

PORTS = range(20_000, 32_000)
"""Below the range from which the system takes ports for outgoing connections: ours stay free between starts."""


LOCK = "stack.lock"


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Holds the state folder, private to its owner, for one stack. The lock goes with the process that holds it."""
    try:
        prepare(folder)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackError(f"Cannot use {folder}: {error.strerror}. Set DEVSTACK_DIR to a folder of yours") from error
    try:
        take(lock, folder)
        yield folder
    finally:
        os.close(lock)


def prepare(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / LOCK).exists() and any(folder.iterdir()):
        raise StackError(f"{folder} holds other files. Set DEVSTACK_DIR to an empty or new folder")
    folder.chmod(0o700)


def take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode().strip() or "unknown"
        advice = "Stop it first, or give this one its own DEVSTACK_DIR and PINKSYNC_PORT"
        raise StackError(f"Another stack (pid {holder}) uses {folder}. {advice}") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def kept_ports(path: Path, names: Iterable[str], taken: Iterable[int] = ()) -> dict[str, int]:
    """A port per name: the one it had if that is still free, else a new one; remembered for the next start."""
    known = read_json(path)
    chosen: dict[str, int] = {}
    for name in names:
        candidates = [known.get(name), *random.sample(PORTS, 200)]
        used = {*taken, *chosen.values()}
        chosen[name] = next(port for port in candidates if isinstance(port, int) and port not in used and is_free(port))
    if chosen != known:
        write_private(path, chosen)
    return chosen


def is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listens(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StackError(f"{path} is damaged: `make clean` starts anew") from error
    return content if isinstance(content, dict) else {}


def write_private(path: Path, content: object) -> None:
    """Writes JSON that only its owner may read; a reader sees the old text or the new, never a half."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    unfinished.replace(path)
