"""docker-compose.yml: of the right shape, pinned, closed to other machines, and without a password of its own."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from devstack.process import ROOT
from scripts import compose_env
from shared_code import settings

FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def wanted_variables() -> set[str]:
    return set(re.findall(r"\$\{(\w+)[^}]*\}", FILE.read_text()))


def test_the_file_follows_the_compose_specification(tmp_path: Path) -> None:
    assert complaints(FILE) == ""
    wrong = tmp_path / "compose.yml"
    wrong.write_text(FILE.read_text().replace("healthcheck:", "healthchek:", 1))
    assert "healthchek" in complaints(wrong), "it would not have noticed"


def complaints(path: Path) -> str:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_services_are_the_ones_that_pinksync_needs() -> None:
    assert SERVICES.keys() == {"postgres", "redis", "svix", "azurite", "pgadmin"}
    assert SERVICES["pgadmin"]["profiles"] == ["pgadmin"]
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["pgadmin"]


def test_images_are_pinned() -> None:
    tags = {name: service["image"].rpartition(":")[2] for name, service in SERVICES.items()}
    assert [name for name, tag in tags.items() if not re.fullmatch(r"v?\d+(\.\d+)+(-alpine)?", tag)] == []


def test_each_service_says_when_it_is_well() -> None:
    assert [name for name, service in SERVICES.items() if not service["healthcheck"]["test"]] == []
    conditions = {each["condition"] for service in SERVICES.values() for each in service.get("depends_on", {}).values()}
    assert conditions == {"service_healthy"}


def test_no_port_is_open_to_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service["ports"]]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_no_password_stands_in_the_file() -> None:
    """Each comes from .env, and without it nothing starts."""
    secret = re.compile(r"PASSWORD|SECRET|KEY|AUTH|DSN|ACCOUNTS")
    values = {name: str(value) for service in SERVICES.values() for name, value in service["environment"].items()}
    guarded = {name: value for name, value in values.items() if secret.search(name)}
    assert guarded
    assert [name for name, value in guarded.items() if not re.search(r"\$\{\w+:\?[^}]+\}", value)] == []
    bare = re.sub(r"\$\{[^}]*\}", "", FILE.read_text())
    assert re.findall(r"://[^/\s@]*:[^/\s@]+@", bare) == []


def test_the_example_names_every_variable_and_fills_in_none() -> None:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    names = {line.removesuffix("=") for line in lines}
    assert all(line.endswith("=") for line in lines)
    assert names == {*compose_env.SECRETS, "AZURITE_KEY"}
    assert wanted_variables() == names - {"DEVSTACK_XANO_API_KEY"}


def test_the_environment_is_random_private_and_kept(tmp_path: Path) -> None:
    assert compose_env.main(["--folder", str(tmp_path)]) == 0
    files = [tmp_path / ".env", tmp_path / "local.settings.json"]
    first = [path.read_text() for path in files]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]
    values = compose_env.read_environment(files[0])
    assert len(set(values.values())) == len(values)
    assert all(len(value) >= 32 for value in values.values())

    assert compose_env.main(["--folder", str(tmp_path)]) == 0
    assert [path.read_text() for path in files] == first

    other = tmp_path / "other"
    other.mkdir()
    compose_env.main(["--folder", str(other)])
    assert set(compose_env.read_environment(other / ".env").values()).isdisjoint(values.values())


def test_the_app_starts_with_the_settings_that_are_written(tmp_path: Path) -> None:
    compose_env.main(["--folder", str(tmp_path)])
    written = json.loads((tmp_path / "local.settings.json").read_text())
    loaded = settings.load(written["Values"])
    env = compose_env.read_environment(tmp_path / ".env")
    assert env["APP_PASSWORD"] in loaded.database_url
    assert env["REDIS_PASSWORD"] in loaded.redis_url
    assert not [name for name, value in written["Values"].items() if "<" in value], "a gap of the sample is left"


def test_an_environment_that_lacks_something_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\n")
    assert compose_env.main(["--folder", str(tmp_path)]) == 1
    assert "lacks APP_PASSWORD" in capsys.readouterr().err
    assert not (tmp_path / "local.settings.json").exists()


def test_neither_file_can_be_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".env", "local.settings.json"} <= set(ignored)
