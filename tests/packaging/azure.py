"""A Python with only what requirements.txt names, and what it makes of a package."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack.functions_host.metadata import Function

SCRIPT = Path(__file__).with_name("in_azure.py")


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a package: its functions, or the error that kept it from being loaded."""

    error: str = ""
    functions: Sequence[Function] = ()
    problems: Sequence[str] = ()
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


@dataclass(frozen=True, slots=True)
class Azure:
    python: Path
    host: Path
    """Holds the part of the devstack that drives Microsoft's worker library, and nothing else."""

    @property
    def libraries(self) -> Path:
        return next(self.python.parent.parent.glob("lib/python3.13/site-packages"))

    def load(
        self,
        package: Path,
        *calls: str,
        hidden: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        patience: int = 0,
    ) -> Told:
        """Indexes the package in its own folder and GETs these paths, with nothing of this environment."""
        env = {"CALLS": ",".join(calls), "HIDDEN": ",".join(hidden), "PATIENCE": str(patience), **(settings or {})}
        command = [str(self.python), "-I", str(SCRIPT), str(self.host), str(package)]
        done = subprocess.run(command, cwd=package, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        functions = [Function(**each) for each in told.pop("functions", ())]
        return Told(functions=functions, **told)
