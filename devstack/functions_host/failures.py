"""Telling what went wrong in the app's code in few words: the exception and the app's own frames."""

import re
from collections.abc import Sequence
from pathlib import Path

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<where>[^\n]+))?(?:\n\s+(?P<code>[^\n]+))?')
_NOT_THE_APP = ("site-packages", "importlib")


class CannotLoad(Exception):
    """The app cannot be imported or indexed; `frames` say where, the outermost first."""

    def __init__(self, text: str, frames: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.frames = frames


def app_frames(traceback: str, app_root: Path, most: int = 3) -> list[str]:
    """`file:line in function: code` of the last frames that lie in the app, or of the very last where none does."""
    found = list(_FRAME.finditer(traceback))
    own = [frame for frame in found if _is_own(Path(frame["file"]), app_root)]
    told = (_told(frame, app_root) for frame in own or found[-1:])
    # A chained exception repeats the frames of its cause.
    return list(dict.fromkeys(told))[-most:]


def chain(traceback: str, app_root: Path) -> str:
    """The same on one line, for the log: `function_app.py:12 orders > shared_code/x.py:33 load`."""
    frames = (frame.split(": ")[0].replace(" in ", " ") for frame in app_frames(traceback, app_root, most=4))
    return " > ".join(frames)


def one_line(text: str) -> str:
    return " ".join(text.split())


def _is_own(file: Path, app_root: Path) -> bool:
    return file.is_relative_to(app_root) and not any(part in str(file) for part in _NOT_THE_APP)


def _told(frame: re.Match[str], app_root: Path) -> str:
    file = Path(frame["file"])
    name = file.relative_to(app_root) if file.is_relative_to(app_root) else file
    where = f" in {frame['where']}" if frame["where"] else ""
    return f"{name}:{frame['line']}{where}" + (f": {frame['code']}" if frame["code"] else "")
