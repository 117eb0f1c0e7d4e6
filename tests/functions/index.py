"""The functions of this app as Microsoft's worker library indexes them, and the checked-in table of them.

`python -m tests.functions.index` writes the table anew, after a function was added or changed on purpose.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from devstack.functions_host.metadata import Function
from devstack.process import ROOT

TABLE = Path(__file__).with_name("functions_table.txt")
INDEX = """
import asyncio, dataclasses, json, sys
from pathlib import Path
from devstack.functions_host.lint import lint
from devstack.functions_host.worker import Worker, arrange_import_path

root = Path(sys.argv[1])
arrange_import_path(root)
functions = asyncio.run(Worker(root).load())
listed = [{"name": each.name, "id": each.id, "bindings": each.bindings} for each in functions]
print(json.dumps({"functions": listed, "problems": lint(functions)}))
"""


@dataclass(frozen=True, slots=True)
class Index:
    functions: Sequence[Function]
    problems: Sequence[str]

    @property
    def http(self) -> Sequence[Function]:
        return [function for function in self.functions if function.is_http]


@cache
def index() -> Index:
    """Indexed in a process of its own, started elsewhere, with the app's folder last on its path, as in Azure."""
    command = [sys.executable, "-c", INDEX, str(ROOT)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tempfile.gettempdir(), env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return Index([Function(**each) for each in found["functions"]], found["problems"])


def table(functions: Sequence[Function]) -> str:
    """One function a line, by name: name, route or schedule, methods, auth level."""
    rows = [cells(function) for function in sorted(functions, key=lambda function: function.name)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def cells(function: Function) -> tuple[str, str, str]:
    if function.is_timer:
        return (function.name, str(function.trigger["schedule"]), "timer")
    return (function.name, function.route, f"{','.join(sorted(function.methods))} {function.auth_level}")


if __name__ == "__main__":
    TABLE.write_text(table(index().functions))
