"""`python -m devstack` for real: started, harmed, stopped."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from devstack.process import ROOT
from shared_code.services.key_format import KEY_ID_LENGTH
from tests.services import eventually, free_port, gone

pytestmark = pytest.mark.stack
PARTS = {"host", "postgres", "redis", "azurite", "svix", "xano", "partner"}


@contextmanager
def stack(folder: Path, port: int, **environment: str) -> Iterator[subprocess.Popen[str]]:
    environ = {**os.environ, "DEVSTACK_DIR": str(folder), "PINKSYNC_PORT": str(port), **environment}
    command = [sys.executable, "-m", "devstack", "--no-demo"]
    output = subprocess.PIPE
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=output, stderr=output, text=True) as running:
        try:
            yield running
        finally:
            running.kill()
            command[-1] = "clean"
            eventually(lambda: subprocess.run(command, env=environ, cwd=ROOT, capture_output=True).returncode == 0)


def credentials(folder: Path, running: subprocess.Popen[str]) -> dict[str, dict[str, int]]:
    file = folder / "credentials.json"

    def read() -> dict[str, dict[str, int]] | None:
        assert running.poll() is None, running.communicate()
        return json.loads(file.read_text()) if file.exists() else None

    return eventually(read, 90)


def test_it_starts_survives_a_killed_part_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with stack(folder, free_port(), DEVSTACK_RESTART_SECONDS="1") as running:
        found = credentials(folder, running)
        assert found["processes"].keys() == PARTS
        assert stat.S_IMODE((folder / "credentials.json").stat().st_mode) == 0o600
        answer = httpx.get(f"{found['base_url']}/api/test", headers={"X-API-Key": str(found["admin_api_key"])})
        assert answer.status_code == 200

        killed = found["processes"]["redis"]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: credentials(folder, running)["processes"]["redis"] != killed)

        everything = [running.pid, *(child.pid for child in psutil.Process(running.pid).children(recursive=True))]
        running.send_signal(signal.SIGTERM)
        shown, errors = running.communicate(timeout=60)
        assert (running.returncode, errors) == (0, "")
        assert re.search(r"redis: stopped \(killed by SIGKILL\).*redis: is back", shown, re.DOTALL)
        assert not (folder / "credentials.json").exists()
        assert all(gone(pid) for pid in everything)


def test_a_killed_supervisor_takes_its_parts_along_and_the_next_start_works(tmp_path: Path) -> None:
    """Also when somebody revoked the admin key: the next start has another."""
    folder, port = tmp_path / "state", free_port()
    with stack(folder, port) as running:
        first = credentials(folder, running)
        key = str(first["admin_api_key"])
        url = f"{first['base_url']}/api/keys/{key[:KEY_ID_LENGTH]}"
        assert httpx.delete(url, headers={"X-API-Key": key}).status_code == 204
        running.kill()
        running.communicate()
        for pid in first["processes"].values():
            eventually(lambda pid=pid: gone(pid))
        (folder / "credentials.json").unlink()
        with stack(folder, port) as again:
            second = credentials(folder, again)
            other = {"admin_api_key": second["admin_api_key"], "processes": second["processes"]}
            assert second == first | other
            answer = httpx.get(f"{second['base_url']}/api/timers", headers={"X-API-Key": str(second["admin_api_key"])})
            assert answer.status_code == 200
            again.send_signal(signal.SIGINT)
            assert again.wait(60) == 0


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with stack(tmp_path / "state", port) as running:
            shown, errors = running.communicate(timeout=30)
    assert running.returncode == 1
    assert errors.startswith(f"Port {port} is taken by ")
    assert errors.count("\n") == 1
    assert shown == ""
