"""The templates with one thing broken, and what the checker says of it."""

import shutil
from pathlib import Path

from infra.check.faults import TEMPLATES, each_fault


def is_found(folder: Path, file: str, old: str, new: str, said: str) -> bool:
    """Whether a fault that says this is found in a copy in which `old`, at its first place in `file`, became `new`."""
    copy = folder / "bicep"
    shutil.copytree(TEMPLATES, copy)
    path = copy / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r} any more"
    path.write_text(text.replace(old, new, 1))
    return any(said in fault.text for fault in each_fault(copy))
