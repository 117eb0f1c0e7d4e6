"""Telemetry to Azure Monitor, by Microsoft's own OpenTelemetry distribution (facts/azure-functions.md §5, way B).

Set up once per process, and only with a connection string; then custom events, logs, spans and the tally go there
in the background. Whatever passes is redacted first. The host makes the request's own span; ours lie inside it.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import Token
from dataclasses import dataclass

from opentelemetry import context, metrics, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context  # pyright: ignore[reportPrivateUsage] - its one name
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import Tracer

from shared_code import telemetry
from shared_code.redaction import redact, redact_mapping
from shared_code.telemetry import Labels

UNUSED = ("django", "fastapi", "flask", "psycopg2", "requests", "urllib", "urllib3")
"""What the distribution would watch besides, and nothing here uses."""

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
        instrumentation_options={name: {"enabled": False} for name in UNUSED},
    )
    telemetry.events.setLevel(logging.INFO)
    count_with(metrics.get_meter("pinksync"))
    telemetry.collected.by = OpenTelemetryTracing(trace.get_tracer("pinksync"), sampler_in_use())


def sampler_in_use() -> Sampler:
    """What the distribution chose, by the standard settings OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG."""
    provider = trace.get_tracer_provider()
    return provider.sampler if isinstance(provider, TracerProvider) else ALWAYS_ON


def count_with(meter: metrics.Meter) -> None:
    """The tally's counters are read when they are due to be sent; only durations are told one by one."""
    for counter in telemetry.COUNTERS:
        meter.create_observable_counter(counter.name, [observed(counter)], description=counter.help)
    for gauge in telemetry.GAUGES:
        meter.create_observable_gauge(gauge.name, [observed(gauge)], description=gauge.help)
    duration = telemetry.REQUESTS
    histogram = meter.create_histogram(
        duration.name, unit="s", description=duration.help, explicit_bucket_boundaries_advisory=telemetry.BOUNDS
    )
    duration.record = lambda seconds, labels: histogram.record(seconds, named(duration.labels, labels))


def observed(counter: telemetry.Counter | telemetry.Gauge) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(value, named(counter.labels, labels)) for labels, value in counter.values.items()]


def named(names: Labels, values: Labels) -> dict[str, str]:
    return dict(zip(names, values, strict=True))


@dataclass(frozen=True, slots=True)
class OpenTelemetryTracing:
    tracer: Tracer
    sampler: Sampler

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
        """An error inside is marked on it by its kind alone.

        The host's trace is asked of the sampler before anything is made: a span that is not kept costs ten times as
        much as that question, and below it nothing is made at all, by instrumentation neither.
        """
        above = trace.get_current_span()
        if not above.is_recording():
            known = above.get_span_context()
            if known.is_valid and not (known.is_remote and self._kept(known.trace_id, name)):
                return Silence() if known.is_remote else telemetry.NOTHING
        return self.tracer.start_as_current_span(name, attributes=attributes, record_exception=False)

    def traceparent(self) -> str | None:
        here = trace.get_current_span().get_span_context()
        if not here.is_valid:
            return None
        return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"

    def sampled(self) -> bool:
        return trace.get_current_span().is_recording()

    def _kept(self, trace_id: int, name: str) -> bool:
        """By the trace's id: every process of every service decides alike."""
        return self.sampler.should_sample(None, trace_id, name).decision.is_sampled()


@dataclass(slots=True)
class Silence:
    """Inside, nothing that is instrumented makes a span; the trace's id is passed on all the same."""

    _before: Token[Context] | None = None

    def __enter__(self) -> None:
        self._before = context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))

    def __exit__(self, *_: object) -> None:
        if self._before:
            context.detach(self._before)


class RedactedSpans(SpanProcessor):
    """Runs before the exporter's own: an ended span gives its attributes only to read, so they are put back inside."""

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
