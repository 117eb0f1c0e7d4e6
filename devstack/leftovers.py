"""Processes that an earlier stack on the same state folder left behind: known by a file, recognised with care."""

import signal
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from devstack.kept import read_json, write_private
from devstack.process import signal_group

FILE = "processes.json"
GRACE = 5.0


def record(folder: Path, pids: Mapping[str, int]) -> None:
    """Notes what runs. The moment of birth tells a process from a later one with the same number."""
    born = {name: {"pid": pid, "born": process.create_time()} for name, pid, process in known(pids)}
    write_private(folder / FILE, {"folder": str(folder), "processes": born})


def known(pids: Mapping[str, int]) -> list[tuple[str, int, psutil.Process]]:
    found: list[tuple[str, int, psutil.Process]] = []
    for name, pid in pids.items():
        try:
            found.append((name, pid, psutil.Process(pid)))
        except psutil.NoSuchProcess:
            continue
    return found


def clear(folder: Path) -> list[str]:
    """Stops what an earlier stack left running; returns the names."""
    left = leftovers(folder)
    for name, process in left.items():
        process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for process in left.values():
        end(process, deadline)
    (folder / FILE).unlink(missing_ok=True)
    return list(left)


def leftovers(folder: Path) -> dict[str, psutil.Process]:
    noted = read_json(folder / FILE)
    entries = noted.get("processes")
    if noted.get("folder") != str(folder) or not isinstance(entries, dict):
        return {}
    found = {str(name): same_process(entry) for name, entry in entries.items()}
    return {name: process for name, process in found.items() if process}


def same_process(entry: Mapping[str, float]) -> psutil.Process | None:
    try:
        process = psutil.Process(int(entry["pid"]))
        same = abs(process.create_time() - entry["born"]) < 0.5
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def end(process: psutil.Process, deadline: float) -> None:
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except psutil.TimeoutExpired:
        signal_group(process.pid, signal.SIGKILL)
        process.wait(2)
