"""The templates with one thing broken, and what the checker says of it."""

import shutil
from pathlib import Path

from infra.check.faults import TEMPLATES, all_faults


def faults_when(folder: Path, file: str, old: str, new: str) -> list[str]:
    """The faults of a copy of the templates in which `old`, at its first place in `file`, became `new`."""
    copy = folder / "bicep"
    shutil.copytree(TEMPLATES, copy)
    path = copy / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r} any more"
    path.write_text(text.replace(old, new, 1))
    return [str(fault) for fault in all_faults(copy)]
