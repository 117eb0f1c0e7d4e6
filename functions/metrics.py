"""What operators' tools read: the gateway's own numbers, as JSON and as Prometheus text."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Literal

import azure.functions as func
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from pydantic import BaseModel

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import AnswerBody
from shared_code import telemetry
from shared_code.ports import Counts
from shared_code.services.metrics import Metrics
from shared_code.telemetry import BOUNDS, Labels

bp = func.Blueprint()


class MetricsQuery(BaseModel):
    format: Literal["json", "prometheus"] | None = None


class MetricsAnswer(AnswerBody):
    active_partners: int
    total_api_requests_today: int
    webhook_success_rate: float | None
    """Percent of the deliveries that came to an end today."""
    avg_response_time_ms: float | None
    outbox_owed: int
    outbox_buried: int
    outbox_age_seconds: float
    inbox_owed: int
    reviews_open: int
    deliveries_unfinished: int
    all_processes: bool
    """False: Redis cannot be asked, and the counts are those of the process that answers."""


@endpoint(
    bp,
    "GET",
    "metrics",
    access=Access.METRICS,
    tag="Operations",
    query=MetricsQuery,
    answer=MetricsAnswer,
    content_type="text/plain",
)
async def metrics(call: Call[Nothing, MetricsQuery]) -> Reply:
    """The gateway's numbers, of all its processes: JSON, or Prometheus text with `?format=prometheus`."""
    read = await call.gateway.metrics.read()
    asked = "prometheus" if prefers_text(call.request.header("accept") or "") else "json"
    if (call.query.format or asked) == "prometheus":
        return Reply(content=prometheus_text(read), content_type=CONTENT_TYPE_PLAIN_0_0_4)
    return Reply(model=to_answer(read))


def prefers_text(accept: str) -> bool:
    """Whichever is named first: browsers' HTTP libraries name both, JSON before text."""
    named = [media.partition(";")[0].strip().lower() for media in accept.split(",")]
    return next((media for media in named if media in ("application/json", "text/plain")), None) == "text/plain"


def to_answer(read: Metrics) -> MetricsAnswer:
    average = read.average_seconds_today
    return MetricsAnswer(
        total_api_requests_today=read.requests_today,
        webhook_success_rate=read.webhook_success_rate,
        avg_response_time_ms=average * 1000 if average is not None else None,
        all_processes=read.whole,
        **asdict(read.figures),
    )


def prometheus_text(read: Metrics) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(read))  # pyright: ignore[reportArgumentType] - only `collect` is called
    return generate_latest(registry)


class Families:
    """The numbers as Prometheus' own library wants them."""

    def __init__(self, read: Metrics) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for name, value in asdict(self._read.figures).items():
            yield GaugeMetricFamily(f"pinksync_{name}", name.replace("_", " ").capitalize() + ".", value=value)
        for gauge in (telemetry.TIMER_LAG, telemetry.CIRCUITS_OPEN):  # the outbox's age is one of the figures
            yield self._gauge(gauge)
        for counter in telemetry.COUNTERS:
            yield self._counter(counter)
        yield self._durations(telemetry.REQUESTS)

    def _gauge(self, gauge: telemetry.Gauge) -> Metric:
        family = GaugeMetricFamily(prometheus_name(gauge.name), gauge.help, labels=gauge.labels)
        for labels, value in sorted(gauge.values.items()):
            family.add_metric(labels, value)
        return family

    def _counter(self, counter: telemetry.Counter) -> Metric:
        family = CounterMetricFamily(prometheus_name(counter.name), counter.help, labels=counter.labels)
        for labels, value in numbers(self._read.ever, counter.name):
            family.add_metric(labels, value)
        return family

    def _durations(self, duration: telemetry.Duration) -> Metric:
        name = prometheus_name(duration.name) + "_seconds"
        family = HistogramMetricFamily(name, duration.help, labels=duration.labels)
        by_labels: dict[Labels, dict[str, float]] = {}
        for labels, value in numbers(self._read.ever, duration.name):
            by_labels.setdefault(labels[:-1], {})[labels[-1]] = value
        for labels, parts in sorted(by_labels.items()):
            family.add_metric(labels, buckets(parts), parts.get("sum", 0))
        return family


def numbers(counts: Counts, name: str) -> Iterator[tuple[Labels, float]]:
    return (((*key[1:],), value) for key, value in sorted(counts.items()) if key[0] == name)


def buckets(parts: dict[str, float]) -> list[tuple[str, float]]:
    """Prometheus' buckets hold what is below them too."""
    found: list[tuple[str, float]] = []
    below = 0.0
    for position, bound in enumerate((*map(str, BOUNDS), "+Inf")):
        below += parts.get(str(position), 0)
        found.append((bound, below))
    return found


def prometheus_name(name: str) -> str:
    return name.replace(".", "_")
