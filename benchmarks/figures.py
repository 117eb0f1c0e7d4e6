"""What a measurement hands back: a table for the reader, and the bars it was held against."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

type Row = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thorough this run is."""

    seconds: float
    """Of one round of load."""
    rounds: int
    only: frozenset[str]

    def wants(self, name: str) -> bool:
        return name in self.only

    def wants_any(self, names: Sequence[str]) -> bool:
        return any(name in self.only for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One line of "Numbers to reach" in the design, and how it went."""

    what: str
    measured: str
    wanted: str
    met: bool
    aim: str = ""
    aim_met: bool = False

    @property
    def verdict(self) -> str:
        if not self.met:
            return "missed"
        return "met" if self.aim_met or not self.aim else "met, not the aim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    title: str
    method: str
    """How it was measured, in one or two sentences."""
    head: Row
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    tables: Sequence[Table]
    bars: Sequence[Bar] = field(default_factory=tuple[Bar, ...])


def at_least(what: str, value: float, bar: float, aim: float | None = None, show: Callable[[float], str] = str) -> Bar:
    return Bar(
        what=what,
        measured=show(value),
        wanted=f"≥ {show(bar)}",
        met=value >= bar,
        aim=f"≥ {show(aim)}" if aim else "",
        aim_met=aim is not None and value >= aim,
    )


def at_most(what: str, value: float, bar: float, show: Callable[[float], str] = str) -> Bar:
    return Bar(what=what, measured=show(value), wanted=f"≤ {show(bar)}", met=value <= bar)


def times(value: float) -> str:
    return f"{value:,.0f}×" if value >= 20 else f"{value:.2f}×"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def spread(values: Sequence[float]) -> str:
    """The lowest and the highest, as whole numbers."""
    return f"{min(values):,.0f} to {max(values):,.0f}"


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[int(part * (len(ordered) - 1))]


median = statistics.median
