"""`python -m benchmarks`, or `make bench`: measures what BENCHMARKS.md reports.

Missed bars are reported and are no failure; the exit code is 1 only when something could not be measured.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx
import psycopg

from benchmarks import events, growth, retention, startup, sync, throughput
from benchmarks.figures import Findings, Plan
from benchmarks.load import CannotMeasure
from benchmarks.report import Report
from benchmarks.world import World, new_world
from devstack.process import ROOT, StackError

BENCHMARKS_MD = ROOT / "BENCHMARKS.md"
CONTENDERS = ("empty", "test", "watched", "test-100", "cached", "uncached", "express", "express-tuned")
MEASUREMENTS: Mapping[str, Callable[[World, Plan], Findings]] = {
    "throughput": throughput.measure,
    "callers": throughput.measure_callers,
    "delivery": events.measure_delivery,
    "events": events.measure_publishing,
    "sync": sync.measure,
    "growth": growth.measure,
    "retention": retention.measure,
    "startup": startup.measure,
}
NAMES = (*CONTENDERS, *(name for name in MEASUREMENTS if name != "throughput"))
_NAMES_TOLD = """\
names for --only:
  empty test watched test-100 cached uncached   requests a second of the gateway, and of an empty function beside it
  express express-tuned                 the original design's Express app, as drawn and tuned by hand
  callers     200 callers at full speed
  delivery    from publishing an event to the partner's endpoint, at 100 a second
  events      events accepted a second
  sync        records a second of a full sync, and its memory (with a million records; takes some minutes)
  growth      lists, key check and claim at a million rows (fills two databases; takes a minute or two)
  retention   requests while a million rows leave each of two tables (takes two minutes)
  startup     import and index of the app
"""
FAILURES = (CannotMeasure, StackError, AssertionError, OSError, RuntimeError, httpx.HTTPError, psycopg.Error)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan, command = plan_of(given), " ".join(["python -m benchmarks", *sys.argv[1:]])
    load_before = os.getloadavg()[0]
    with new_world() as world:
        findings, failures = measure_all(world, plan)
    report = Report(findings=findings, failures=failures, load_before=load_before, command=command)
    print(f"\n{report.text()}")
    if given.output:
        given.output.write_text(report.markdown())
        print(f"\nWritten to {given.output}")
    return 1 if failures else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=_NAMES_TOLD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=NAMES, metavar="NAME", help="measure only these")
    add("--seconds", type=float, metavar="N", help="seconds of one round of load (default 3, quick 1)")
    add("--quick", action="store_true", help="shorter rounds, fewer of them, no growth, no retention")
    add("--growth", action="store_true", help="growth and retention too, which --quick leaves out")
    add("--output", type=Path, metavar="FILE", help="write the report here (default BENCHMARKS.md for a full run)")
    given = parser.parse_args(arguments)
    if not (given.only or given.quick or given.output):
        given.output = BENCHMARKS_MD
    return given


def plan_of(given: argparse.Namespace) -> Plan:
    names = set(given.only or NAMES)
    if given.quick and not given.only and not given.growth:
        names -= {"growth", "retention"}
    seconds = given.seconds or (1.0 if given.quick else 3.0)
    return Plan(seconds=seconds, rounds=3 if given.quick else 5, only=frozenset(names))


def measure_all(world: World, plan: Plan) -> tuple[Sequence[Findings], Mapping[str, str]]:
    """One failure does not end the run: what can be measured is."""
    findings: list[Findings] = []
    failures: dict[str, str] = {}
    for name, measure in MEASUREMENTS.items():
        if not plan.wants_any(CONTENDERS if name == "throughput" else (name,)):
            continue
        began = time.monotonic()
        try:
            findings.append(measure(world, plan))
        except (*FAILURES, subprocess.SubprocessError, ExceptionGroup) as problem:
            failures[name] = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
        print(f"  {name:<10} {failures.get(name, 'done')}  {time.monotonic() - began:.0f} s", flush=True)
    return findings, failures


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
