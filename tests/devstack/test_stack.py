"""The supervisor behind `make run`: what it keeps, what it refuses, what it restarts, and that it leaves nothing."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from devstack import kept, leftovers, process, settings
from devstack.console import Console
from devstack.keeper import Keeper, State
from devstack.process import ROOT, Part, StackError
from shared_code import settings as app_settings
from shared_code.services import key_format
from tests.services import app_environment, eventually, free_port, gone


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestSecrets:
    def test_they_are_made_once_and_only_their_owner_may_read_them(self, tmp_path: Path) -> None:
        made = settings.kept_secrets(tmp_path / "secrets.json")
        assert settings.kept_secrets(tmp_path / "secrets.json") == made
        assert mode(tmp_path / "secrets.json") == 0o600

    def test_a_newer_version_adds_what_it_needs_and_changes_nothing_else(self, tmp_path: Path) -> None:
        kept.write_private(tmp_path / "secrets.json", {"admin_password": "kept", "forgotten": "x"})
        secrets = settings.kept_secrets(tmp_path / "secrets.json")
        assert secrets.admin_password == "kept"
        assert settings.kept_secrets(tmp_path / "secrets.json") == secrets

    def test_a_damaged_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "secrets.json").write_text("{")
        with pytest.raises(StackError, match=r"secrets\.json is damaged: `make clean`"):
            settings.kept_secrets(tmp_path / "secrets.json")

    def test_the_admin_key_is_one_that_the_gateway_takes(self) -> None:
        for _ in range(50):
            assert key_format.parse(settings.api_key(), "live")

    def test_a_small_checksum_keeps_its_six_digits(self) -> None:
        assert key_format.checksum("") == "000000"

    def test_no_secret_shows_when_a_description_is_printed(self) -> None:
        secrets = settings.Secrets()
        assert secrets.admin_api_key not in repr(secrets)


NAMES = ("postgres", "redis", "svix")


class TestPorts:
    def test_they_are_all_different_and_the_same_at_the_next_start(self, tmp_path: Path) -> None:
        first = kept.kept_ports(tmp_path / "ports.json", NAMES)
        assert len(set(first.values())) == len(NAMES)
        assert kept.kept_ports(tmp_path / "ports.json", NAMES) == first

    def test_one_that_was_taken_meanwhile_is_replaced(self, tmp_path: Path) -> None:
        first = kept.kept_ports(tmp_path / "ports.json", NAMES)
        with socket.create_server(("127.0.0.1", first["svix"])):
            second = kept.kept_ports(tmp_path / "ports.json", NAMES)
        assert second["svix"] != first["svix"]
        assert second | {"svix": 0} == first | {"svix": 0}


class TestFolder:
    def test_it_is_private_and_serves_one_stack_at_a_time(self, tmp_path: Path) -> None:
        with kept.claimed(tmp_path / "state") as folder:
            assert mode(folder) == 0o700
            with pytest.raises(StackError, match=f"Another stack .pid {os.getpid()}."), kept.claimed(folder):
                pass
        with kept.claimed(folder):
            pass

    def test_a_folder_with_other_files_is_refused_untouched(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").touch()
        tmp_path.chmod(0o755)
        with pytest.raises(StackError, match="holds other files"), kept.claimed(tmp_path):
            pass
        assert mode(tmp_path) == 0o755


class TestSettings:
    def test_the_app_takes_the_environment_it_is_given(self) -> None:
        environment = app_environment("postgresql://x", "redis://x")
        assert app_settings.load(environment).webhook_max_attempts == 8

    def test_fewer_retries_at_svix_mean_fewer_attempts_expected(self) -> None:
        chosen = settings.options({"DEVSTACK_SVIX_RETRY": "1,2"})
        assert settings.app_environment(chosen, settings.Secrets(), ADDRESSES)["WEBHOOK_MAX_ATTEMPTS"] == "3"

    def test_the_sample_lists_them_all_and_holds_no_secret(self) -> None:
        sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
        assert sample.keys() >= app_environment("", "").keys()
        assert all("<" in sample[name] for name in sample if name.endswith(("KEY", "TOKEN", "PEPPER", "KEYRING")))

    @pytest.mark.parametrize(
        ("name", "value"),
        [("PINKSYNC_PORT", "http"), ("PINKSYNC_PORT", "70000"), ("DEVSTACK_RESTART_SECONDS", "-1"),
         ("DEVSTACK_SVIX_RETRY", "1,,2")],
    )  # fmt: skip
    def test_a_bad_choice_is_named(self, name: str, value: str) -> None:
        with pytest.raises(StackError, match=name):
            settings.options({name: value})

    def test_credentials_hold_what_the_contract_promises(self, tmp_path: Path) -> None:
        chosen = settings.options({"DEVSTACK_DIR": str(tmp_path), "PINKSYNC_PORT": "7999"})
        content = settings.credentials(chosen, settings.Secrets(), ADDRESSES, {"host": 1})
        kept.write_private(chosen.credentials_file, content)
        read = json.loads(chosen.credentials_file.read_text())
        assert read.keys() >= IN_THE_CONTRACT
        assert read["base_url"] == "http://127.0.0.1:7999"
        assert mode(chosen.credentials_file) == 0o600


IN_THE_CONTRACT = {
    "base_url", "admin_api_key", "admin_email", "admin_password", "database_url", "redis_url", "svix_url", "svix_token",
    "storage_connection_string", "xano_url", "xano_api_key", "partner_url", "processes",
}  # fmt: skip
ADDRESSES = settings.Addresses(
    database_url="postgresql://db", redis_url="redis://r", storage_connection_string="s", svix_url="http://s",
    xano_url="http://x", partner_url="http://p",
)  # fmt: skip


def test_nothing_is_coloured_that_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(out=sys.stdout, err=sys.stderr)
    console.headline("Hello")
    console.step("redis", "Valkey", 0.25)
    console.fail("Bad")
    shown = capsys.readouterr()
    assert "\033" not in shown.out + shown.err


def web_server(tmp_path: Path, port: int) -> Part:
    """The smallest real part: Python's own web server."""
    return Part(
        name="web",
        title="a web server",
        port=port,
        command=(sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)),
        log=tmp_path / "web.log",
        is_ready=lambda: process.http_status(port, "/") == 200,
    )


@contextmanager
def kept_running(part: Part, said: list[str]) -> Iterator[Keeper]:
    started = process.start(part)
    keeper = Keeper(part, started, started.pid, 0.0, lambda name, text: said.append(f"{name} {text}"), State.UP)
    process.wait_until_ready(part, started)
    try:
        yield keeper
    finally:
        keeper.process.kill()


class TestKeeper:
    def test_a_part_that_dies_is_started_again_and_says_so(self, tmp_path: Path) -> None:
        said: list[str] = []
        with kept_running(web_server(tmp_path, free_port()), said) as keeper:
            first = keeper.pid
            os.kill(first, signal.SIGKILL)
            eventually(lambda: keeper.look(time.monotonic()) and keeper.state is State.UP)
            assert keeper.pid != first
        assert said == ["web stopped (killed by SIGKILL); starting it again in 0 s", f"web is back (pid {keeper.pid})"]

    def test_one_that_a_person_started_meanwhile_is_left_alone(self, tmp_path: Path) -> None:
        said: list[str] = []
        part = web_server(tmp_path, free_port())
        with kept_running(part, said) as keeper:
            keeper.process.kill()
            by_hand = process.start(part)
            process.wait_until_ready(part, by_hand)
            eventually(lambda: keeper.look(time.monotonic()) and keeper.state is State.BY_HAND)
            assert keeper.pid == by_hand.pid
            by_hand.kill()
            eventually(lambda: keeper.look(time.monotonic()) and keeper.state is State.UP)
            assert keeper.ours

    def test_one_that_cannot_start_says_why(self, tmp_path: Path) -> None:
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            started = process.start(web_server(tmp_path, port))
            eventually(lambda: not started.alive())
        assert "Address already in use" in process.failure(started)


class TestProcesses:
    def test_a_child_dies_when_its_parent_is_killed(self, tmp_path: Path) -> None:
        script = (
            "import time; from pathlib import Path; from devstack.process import spawn\n"
            f"print(spawn(['/bin/sleep', '60'], log=Path({str(tmp_path / 'log')!r})).pid, flush=True); time.sleep(60)"
        )
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
            assert parent.stdout
            child = int(parent.stdout.readline())
            eventually(lambda: psutil.Process(child).name() == "sleep")
            parent.kill()
        eventually(lambda: gone(child))

    def test_leftovers_of_an_earlier_stack_are_stopped(self, tmp_path: Path) -> None:
        left = process.spawn(["/bin/sleep", "60"], log=tmp_path / "log")
        leftovers.record(tmp_path, {"svix": left.pid})
        assert leftovers.clear(tmp_path) == ["svix"]
        assert gone(left.pid)
        left.wait()
        assert leftovers.clear(tmp_path) == []

    def test_a_process_that_only_has_the_number_of_one_is_not(self, tmp_path: Path) -> None:
        entry = {"pid": os.getpid(), "born": psutil.Process().create_time() - 60}
        kept.write_private(tmp_path / leftovers.FILE, {"folder": str(tmp_path), "processes": {"svix": entry}})
        assert leftovers.clear(tmp_path) == []

    def test_a_long_log_is_set_aside(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "LOG_LIMIT", 3)
        (tmp_path / "web.log").write_text("long")
        process.rotate_log(tmp_path / "web.log")
        assert (tmp_path / "web.log.1").read_text() == "long"
        assert not (tmp_path / "web.log").exists()
