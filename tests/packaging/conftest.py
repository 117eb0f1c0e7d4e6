"""The package as it is published, and a Python that has only what requirements.txt names."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.process import ROOT
from scripts.package import package
from tests.packaging.azure import Azure


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "package"
    package(ROOT, folder, "1a2b3c")
    return folder


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory, published: Path) -> Azure:
    """Installed without following dependencies: what requirements.txt forgets is then missing, as it should be."""
    folder = tmp_path_factory.mktemp("azure")
    python = folder / "python" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "python"))
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-input")
    run(*pip, "--no-compile", "--disable-pip-version-check", "-r", str(published / "requirements.txt"))
    host = folder / "host"
    shutil.copytree(ROOT / "devstack" / "functions_host", host / "devstack" / "functions_host")
    (host / "devstack" / "__init__.py").touch()
    schedules = Path("shared_code") / "model" / "ncrontab.py"
    (host / schedules).parent.mkdir(parents=True)
    shutil.copy(ROOT / schedules, host / schedules)  # beside it in the repository; no package: without __init__.py
    return Azure(python=python, host=host)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
