"""What PinkSync counts and tells of itself: every instrument and every custom event, by name.

Counting is an addition in this process's memory and nothing else. Adapters read the tally: one shares it with the
other processes, for /metrics; one gives it to Azure Monitor. Only the standard library is used here, so any room of
the house may count.
"""

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

type Labels = tuple[str, ...]

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: the upper ends of a duration's buckets; what is longer falls in a last one without an end."""

events = logging.getLogger("pinksync.events")


@dataclass(eq=False, slots=True)
class Counter:
    """How often something happened in this process since it began, by the values of its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    values: dict[Labels, float] = field(default_factory=lambda: defaultdict[Labels, float](float))

    def add(self, *labels: str) -> None:
        self.values[labels] += 1


@dataclass(eq=False, slots=True)
class Duration:
    """How long something took in this process, in buckets, by the values of its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: dict[Labels, list[int]] = field(default_factory=dict[Labels, list[int]])
    """For each set of labels, how many fell in each bucket of BOUNDS, and in the one above."""
    sums: dict[Labels, float] = field(default_factory=lambda: defaultdict[Labels, float](float))

    def add(self, seconds: float, *labels: str) -> None:
        counts = self.buckets.get(labels)
        if counts is None:
            counts = self.buckets[labels] = [0] * (len(BOUNDS) + 1)
        counts[bisect_left(BOUNDS, seconds)] += 1
        self.sums[labels] += seconds

    def counts(self) -> Mapping[Labels, float]:
        return {labels: sum(counts) for labels, counts in self.buckets.copy().items()}


REQUESTS = Duration(
    "pinksync.request.duration", "Seconds from a request's arrival to its answer.", ("route", "method", "status")
)
REQUEST_COUNT = "pinksync.request.count"
"""How many they were, where each metric is a single number."""
LIMIT_REFUSALS = Counter("pinksync.ratelimit.rejected", "Requests refused for a limit.", ("partner_id",))
CACHE_HITS = Counter("pinksync.cache.hits", "Reads of business resources answered from the cache.")
CACHE_MISSES = Counter("pinksync.cache.misses", "Reads of business resources that had to ask the backend.")
DELIVERIES = Counter("pinksync.webhook.deliveries", "Deliveries that came to an end.", ("outcome",))
JOBS = Counter("pinksync.jobs", "Sync jobs that came to an end.", ("outcome",))
DATABASE_ERRORS = Counter("pinksync.db.connection_errors", "Connections to PostgreSQL that failed or were lost.")


@dataclass(eq=False, slots=True)
class Gauge:
    """How something stands now, as it was last looked at."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    values: dict[Labels, float] = field(default_factory=dict[Labels, float])

    def set(self, values: Mapping[Labels, float]) -> None:
        self.values = dict(values)


OUTBOX_AGE = Gauge("pinksync.outbox.age_seconds", "How long the oldest debt to the webhook service has been due.")
TIMER_LAG = Gauge("pinksync.timer.lag_seconds", "By how much a timer is late.", ("timer",))
CIRCUITS_OPEN = Gauge("pinksync.circuit.open", "1 for each circuit that is open.", ("name",))

GAUGES = (OUTBOX_AGE, TIMER_LAG, CIRCUITS_OPEN)

COUNTERS = (LIMIT_REFUSALS, CACHE_HITS, CACHE_MISSES, DELIVERIES, JOBS, DATABASE_ERRORS)


type Name = tuple[str, ...]
"""One number of the tally: an instrument's name, its labels' values, and of a duration a bucket's place or `sum`."""


def tally() -> Iterator[tuple[Name, float]]:
    """Every number of this process, as it stands now."""
    for counter in COUNTERS:
        for labels, value in counter.values.items():
            yield (counter.name, *labels), value
    for labels, counts in REQUESTS.buckets.items():
        yield (REQUESTS.name, *labels, "sum"), REQUESTS.sums[labels]
        for position, count in enumerate(counts):
            if count:
                yield (REQUESTS.name, *labels, str(position)), count


def custom_event(name: str, **attributes: str) -> None:
    """A custom event in Application Insights, when that is set up; else a line nobody asked for, and not written."""
    events.info(name, extra={"microsoft.custom_event.name": name, **attributes})


class Tracing(Protocol):
    """Collects spans."""

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]: ...
    def traceparent(self) -> str | None:
        """The W3C `traceparent` of the span that is open here."""
        ...

    def stands_for(self) -> int:
        """How many the span that is open here stands for in what is kept: 0 if it is not kept itself."""
        ...


@dataclass(slots=True)
class Collected:
    """Who collects spans in this process; nobody, until telemetry is set up."""

    by: Tracing | None = None


collected = Collected()
NOTHING = nullcontext()


def span(name: str, **attributes: str) -> AbstractContextManager[object]:
    """A part of the work under way, as a span of its trace when those are collected."""
    return collected.by.span(name, attributes) if collected.by else NOTHING


def traceparent(given: str | None) -> str | None:
    """Of the span that is open here, where those are collected; else what the caller gave is passed on."""
    return (collected.by.traceparent() if collected.by else None) or given


def stands_for() -> int:
    return collected.by.stands_for() if collected.by else 0
