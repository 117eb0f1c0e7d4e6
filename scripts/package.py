"""Make the folder that is published: `python -m scripts.package --output FOLDER`. Safe to repeat.

It holds what `func azure functionapp publish` would upload from here, by .funcignore as Azure Functions Core Tools
reads it, and nothing else: a file that is not of the app is named and stops this. Publish from the folder, and keep
it: publishing it again is the way back.

Exit code 0: the folder is there. 1: it failed, and one line says why. 2: a wrong command line.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APP = frozenset({"function_app.py", "functions", "host.json", "requirements.txt", "shared_code"})
BUILD = "shared_code/build.txt"
"""Read by shared_code/version.py."""
SKIPPED_FOLDERS = frozenset({".git", ".vscode"})
SKIPPED_FILES = frozenset({".funcignore", ".gitignore", "local.settings.json", "project.lock.json"})


class NotTheApp(Exception):
    """What would be uploaded is not exactly the app."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        files = package(options.root.resolve(), options.output, options.build)
    except (NotTheApp, OSError) as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    print(f"{len(files)} files in {options.output}.")
    return 0


def parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        prog="python -m scripts.package",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="emptied first if it is there")
    made.add_argument(
        "--build", type=build_id, metavar="ID", help="said by GET /api/health behind the version; a commit, say"
    )
    made.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    return made


def build_id(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z-]{1,40}", text):
        raise argparse.ArgumentTypeError("a build is named with letters, digits and dashes, 40 at most")
    return text


def package(root: Path, output: Path, build: str | None = None) -> Sequence[str]:
    """Copies the app from `root`; the paths of its files. Raises NotTheApp, and then writes nothing."""
    files = list(uploaded(root))
    found = {name.partition("/")[0] for name in files}
    if strange := sorted(found - APP):
        raise NotTheApp(f"not of the app, and not in .funcignore: {', '.join(strange)}")
    if missing := sorted(APP - found):
        raise NotTheApp(f"missing: {', '.join(missing)}")
    make_empty(output)
    for name in files:
        target = output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
    if build:
        (output / BUILD).write_text(build)
        files.append(BUILD)
    return files


def make_empty(output: Path) -> None:
    """Removes an older package; anything else that stands there is left alone, with an error."""
    if output.exists() and any(output.iterdir()) and not (output / "function_app.py").exists():
        raise NotTheApp(f"{output} holds something else; name another folder")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)


def uploaded(root: Path) -> Iterator[str]:
    """The files that Core Tools would upload, as paths from the root with slashes."""
    return files_below(root, "", ignored_by((root / ".funcignore").read_text()))


def files_below(root: Path, folder: str, ignored: re.Pattern[str]) -> Iterator[str]:
    for path in sorted((root / folder).iterdir()):
        name = f"{folder}{path.name}"
        if ignored.match(name):
            continue
        if not path.is_dir():
            if path.name.lower() not in SKIPPED_FILES:
                yield name
        elif path.name.lower() not in SKIPPED_FOLDERS:
            yield from files_below(root, f"{name}/", ignored)


def ignored_by(text: str) -> re.Pattern[str]:
    """What .funcignore leaves behind: a path that begins with one of its patterns, up to the end of a word."""
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    if any(line.startswith("!") for line in lines):
        raise NotTheApp(".funcignore has a line with !, which this does not read")
    words = [re.escape(line.removeprefix("/")).replace(r"\*\*", ".+").replace(r"\*", "[^/]+") for line in lines]
    return re.compile(rf"(?:{'|'.join(words)})\b", re.ASCII)


if __name__ == "__main__":
    sys.exit(main())
