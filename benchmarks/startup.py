"""How long the app takes to be imported and indexed by Microsoft's worker library."""

import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Bar, Findings, Plan, Table, median, times
from benchmarks.world import World
from devstack.process import ROOT

TIMES = 5
MOST, MOST_SECONDS = 2.0, 1.5


def measure(world: World, plan: Plan) -> Findings:
    apps = {
        "an app with one empty function": world.empty_root,
        "the same with PinkSync's libraries": world.sdks_root,
        "PinkSync": ROOT,
    }
    took = medians(list(apps.values()))
    empty, sdks, app = took
    table = Table(
        title="Import and index",
        method=f"A new process each time, from before the worker library's import until every function is indexed; "
        f"median of {TIMES}, the apps in turn.",
        head=("what", "time", "of the empty one"),
        rows=[(what, f"{each:.2f} s", times(each / empty)) for what, each in zip(apps, took, strict=True)],
    )
    return Findings(tables=[table], bars=[bar(app, sdks)])


def medians(roots: list[Path]) -> list[float]:
    found: list[list[float]] = [[] for _ in roots]
    for number in range(TIMES + 1):
        for root, each in zip(roots, found, strict=True):
            seconds = seconds_to_load(root)
            if number:  # the first one compiles
                each.append(seconds)
    return [median(each) for each in found]


def bar(app: float, sdks: float) -> Bar:
    return Bar(
        what="import and index, against an empty app with the same libraries",
        measured=f"{times(app / sdks)}, {app:.2f} s",
        wanted=f"≤ {times(MOST)} or < {MOST_SECONDS} s",
        met=app / sdks <= MOST or app < MOST_SECONDS,
    )


def seconds_to_load(root: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.load_app", str(root)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
