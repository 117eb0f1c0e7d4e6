"""Telemetry to Azure Monitor, by Microsoft's own OpenTelemetry distribution (facts/azure-functions.md §5, way B).

Set up once per process, and only with a connection string; then custom events, logs, spans and the tally go there
in the background. Whatever passes is redacted first. The host makes the request's own span; ours lie inside it.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler
from opentelemetry.trace import Tracer

from shared_code import telemetry
from shared_code.adapters.kept_traces import LEFT_OUT, STANDS_FOR, AtMost, decide_at_the_door, kept_by
from shared_code.redaction import redact, redact_mapping
from shared_code.telemetry import Labels

type Observe = Callable[[CallbackOptions], Iterable[Observation]]

NOT_BY_ITSELF = ("django", "fastapi", "flask", "httpx", "psycopg2", "requests", "urllib", "urllib3")
"""What the distribution would watch. Nothing here uses it but httpx, which is watched once it is known what is kept."""

logger = logging.getLogger("pinksync.telemetry")


def configure(connection_string: str) -> None:
    """Never raises: without telemetry everything else goes on. A second call in a process does nothing."""
    if telemetry.collected.by:
        return
    try:
        _configure(connection_string)
    except Exception as error:
        logger.error("telemetry could not be set up: %s", type(error).__name__)


def _configure(connection_string: str) -> None:
    from azure.monitor.opentelemetry import configure_azure_monitor  # 0.7 s, and only paid where it is wanted

    configure_azure_monitor(
        connection_string=connection_string,
        logger_name="pinksync",
        enable_live_metrics=False,
        enable_performance_counters=False,
        span_processors=[RedactedSpans()],
        log_record_processors=[RedactedLogs()],
        instrumentation_options={name: {"enabled": False} for name in NOT_BY_ITSELF},
    )
    telemetry.events.setLevel(logging.INFO)
    count_with(metrics.get_meter("pinksync"))
    choose_traces()
    HTTPXClientInstrumentor().instrument()
    telemetry.collected.by = OpenTelemetryTracing(trace.get_tracer("pinksync"))


def choose_traces() -> None:
    """As OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say: at the door, and below it as was decided there."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        limit = rate_limit(provider.sampler)
        decide_at_the_door(AtMost(limit).keeps if limit else kept_by(provider.sampler))
        provider.sampler = ParentBased(provider.sampler)


def rate_limit(sampler: Sampler) -> float:
    """Traces a second; 0 when it goes by something else."""
    found = re.fullmatch(r"RateLimitedSampler\{(.+)\}", sampler.get_description())
    return float(found[1]) if found else 0.0


def count_with(meter: metrics.Meter) -> None:
    """The tally is read when it is due to be sent; nothing is told one by one."""
    for counter in telemetry.COUNTERS:
        observe = grown(counter.labels, counter.values.copy)
        meter.create_observable_counter(counter.name, [observe], description=counter.help)
    for gauge in telemetry.GAUGES:
        meter.create_observable_gauge(gauge.name, [measured(gauge)], description=gauge.help)
    requests = telemetry.REQUESTS
    seconds, count = grown(requests.labels, requests.sums.copy), grown(requests.labels, requests.counts)
    meter.create_observable_counter(requests.name, [seconds], unit="s", description=requests.help)
    meter.create_observable_counter(telemetry.REQUEST_COUNT, [count], description="Requests that were answered.")


def grown(names: Labels, read: Callable[[], Mapping[Labels, float]]) -> Observe:
    """Those that have grown since they were last asked for: one that stands still sends no rows."""
    before: Mapping[Labels, float] = {}

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        nonlocal before
        now, then = read(), before
        before = now
        return [Observation(now[labels], named(names, labels)) for labels in now if now[labels] != then.get(labels)]

    return observe


def measured(gauge: telemetry.Gauge) -> Observe:
    """As it was last looked at, once: another process may be the one that looks at it from now on."""
    told: Mapping[Labels, float] = gauge.values

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        nonlocal told
        fresh = gauge.values if gauge.values is not told else {}
        told = gauge.values
        return [Observation(value, named(gauge.labels, labels)) for labels, value in fresh.items()]

    return observe


def named(names: Labels, values: Labels) -> dict[str, str]:
    return dict(zip(names, values, strict=True))


@dataclass(frozen=True, slots=True)
class OpenTelemetryTracing:
    tracer: Tracer

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
        """An error inside is marked on it by its kind alone."""
        if LEFT_OUT.get():
            return telemetry.NOTHING
        return self.tracer.start_as_current_span(name, attributes=attributes, record_exception=False)

    def traceparent(self) -> str | None:
        here = trace.get_current_span().get_span_context()
        if not here.is_valid:
            return None
        return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"

    def stands_for(self) -> int:
        if LEFT_OUT.get() or not trace.get_current_span().is_recording():
            return 0
        return cast(int, context.get_value(STANDS_FOR) or 1)


class RedactedSpans(SpanProcessor):
    """Runs before the exporter's own: an ended span gives its attributes only to read, so they are put back inside."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """The exporter says by this name, as a percentage, for how many a row stands."""
        stands_for = cast(int, context.get_value(STANDS_FOR, parent_context))
        if stands_for:
            span.set_attribute("_MS.sampleRate", 100 / stands_for)

    def on_end(self, span: ReadableSpan) -> None:
        if span.attributes:
            span._attributes = redact_mapping(span.attributes)  # pyright: ignore[reportPrivateUsage]
        span._name = redact(span.name)  # pyright: ignore[reportPrivateUsage]


class RedactedLogs(LogRecordProcessor):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        record = log_record.log_record
        if isinstance(record.body, str):
            record.body = redact(record.body)
        if record.attributes:
            record.attributes = redact_mapping(record.attributes)

    def shutdown(self) -> None:
        """Nothing is kept here."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True
