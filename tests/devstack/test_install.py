"""The first step of every make target: it repairs what was interrupted and is quick when nothing changed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack import install

type Commands = list[str]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A repository whose environment is tmp_path/.venv; what would be run is noted, and the environment pretended."""
    venv, node = tmp_path / ".venv", tmp_path / "node"
    names = {"VENV": venv, "PYTHON": venv / "python", "STAMP": venv / ".installed", "UNFINISHED": venv / ".installing"}
    for name, path in (names | {"LOG": venv / "install.log", "AZURITE": venv / "azurite"}).items():
        monkeypatch.setattr(install, name, path)
    monkeypatch.setattr(install, "node_and_npm", lambda: (node, node))
    monkeypatch.setattr(install, "works", lambda: install.PYTHON.exists())
    done: Commands = []
    monkeypatch.setattr(install, "run", pretend(done))
    return done


def pretend(done: Commands) -> Callable[..., None]:
    def run(command: list[str], problem: str, *_: object) -> None:
        done.append(next(word for word in command if word in ("venv", "pip", "ci")))
        if "venv" in command:
            install.PYTHON.touch()

    return run


def test_a_fresh_clone_gets_everything(commands: Commands) -> None:
    install.install()
    assert commands == ["venv", "pip", "ci"]


def test_when_nothing_changed_nothing_is_done(commands: Commands) -> None:
    install.install()
    commands.clear()
    install.install()
    assert commands == []


def test_other_requirements_are_installed_over_the_old_and_azurite_is_left(commands: Commands) -> None:
    install.install()
    install.STAMP.write_text("other requirements")
    commands.clear()
    install.install()
    assert commands == ["pip"]


def test_an_interrupted_installation_starts_from_nothing(commands: Commands) -> None:
    install.install()
    install.UNFINISHED.touch()
    (half := install.VENV / "half-a-package").touch()
    commands.clear()
    install.install()
    assert commands == ["venv", "pip", "ci"]
    assert not half.exists()


def test_a_registry_out_of_reach_costs_no_environment(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    install.install()
    install.STAMP.write_text("other requirements")
    with monkeypatch.context() as patch:
        patch.setattr(install, "install_azurite", unreachable)
        with pytest.raises(install.CannotInstall):
            install.install()
    commands.clear()
    install.install()
    assert commands == ["pip"]


def unreachable() -> None:
    raise install.CannotInstall


def test_the_complaint_is_the_line_that_says_why(commands: Commands) -> None:
    install.VENV.mkdir()
    install.LOG.write_text("npm error code X\nnpm error request failed, reason: refused\nnpm error A complete log…\n")
    assert install.complaint() == "npm error request failed, reason: refused"


def test_the_wrong_python_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    assert install.main() == 1
    assert capsys.readouterr().err.startswith("PinkSync needs Python 3.13; this is ")
