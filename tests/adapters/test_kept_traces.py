"""Which traces are kept, by the Functions worker's own code and the real SDK."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from azure.monitor.opentelemetry.exporter import ApplicationInsightsSampler, RateLimitedSampler
from azure_functions_runtime import otel
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from shared_code import telemetry
from shared_code.adapters.azure_monitor import OpenTelemetryTracing, RedactedSpans, rate_limit
from shared_code.adapters.kept_traces import AtMost, Keeps, decide_at_the_door, kept_by


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Everything that is kept; without a door, nothing."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    provider.add_span_processor(RedactedSpans())
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(telemetry.collected, "by", OpenTelemetryTracing(provider.get_tracer("test")))
    monkeypatch.setattr(otel, "otel_manager", otel.OTelManager())
    otel.update_opentelemetry_status()
    yield kept
    provider.shutdown()


async def invoked(trace: str, flags: str = "01") -> dict[str, Any]:
    return await invoked_with(f"00-{trace}-b7ad6b7169203331-{flags}")


async def invoked_with(traceparent: str | None) -> dict[str, Any]:
    """One invocation as the worker makes it, with a span in a span; and what it would tell others."""

    async def invocation() -> dict[str, Any]:
        caller = SimpleNamespace(trace_parent=traceparent, trace_state="")
        otel.configure_opentelemetry(SimpleNamespace(trace_context=caller))
        with telemetry.span("request"), telemetry.span("store"):
            return {
                "traceparent": telemetry.traceparent(None),
                "stands_for": telemetry.stands_for(),
                "watched": is_instrumentation_enabled(),
            }

    return await asyncio.create_task(invocation())


def rates(spans: InMemorySpanExporter) -> list[object]:
    return [(span.name, (span.attributes or {}).get("_MS.sampleRate")) for span in spans.get_finished_spans()]


async def test_a_trace_that_is_kept_has_all_its_spans_and_says_so(spans: InMemorySpanExporter) -> None:
    decide_at_the_door(lambda _: True)
    trace = uuid4().hex
    told = await invoked(trace)
    inner, outer = spans.get_finished_spans()
    assert inner.parent == outer.context
    assert outer.parent
    assert (outer.parent.trace_id, outer.parent.span_id) == (int(trace, 16), 0xB7AD6B7169203331)
    assert told == {"traceparent": f"00-{trace}-{own_id(inner)}-01", "stands_for": 1, "watched": True}


def own_id(span: ReadableSpan) -> str:
    assert span.context
    return f"{span.context.span_id:016x}"


@pytest.mark.parametrize(("flags", "keeps"), [("01", False), ("00", True)])
async def test_a_trace_that_is_not_kept_has_none_and_says_so(
    spans: InMemorySpanExporter, flags: str, keeps: bool
) -> None:
    """Left out here, or by the host before."""
    decide_at_the_door(lambda _: keeps)
    trace = uuid4().hex
    told = await invoked(trace, flags)
    assert told == {"traceparent": f"00-{trace}-b7ad6b7169203331-00", "stands_for": 0, "watched": False}
    assert spans.get_finished_spans() == ()


@pytest.mark.parametrize("traceparent", [None, "", "|7d1e2a3b.4c5d_", "nonsense"])
async def test_a_host_that_has_no_trace_fails_nothing(spans: InMemorySpanExporter, traceparent: str | None) -> None:
    decide_at_the_door(lambda _: True)
    assert (await invoked_with(traceparent))["stands_for"] == 0
    assert spans.get_finished_spans() == ()


async def test_a_kept_trace_stands_for_those_left_out_before_it(spans: InMemorySpanExporter) -> None:
    answers = iter([False, True, False, False, True, True])
    decide_at_the_door(lambda _: next(answers))
    told = [(await invoked(uuid4().hex))["stands_for"] for _ in range(6)]
    assert told == [0, 2, 0, 0, 3, 1]
    assert rates(spans) == [
        *(("store", 50.0), ("request", 50.0)),
        *(("store", 100 / 3), ("request", 100 / 3)),
        *(("store", 100.0), ("request", 100.0)),
    ]


def test_low_traffic_is_kept_whole_and_high_traffic_evenly() -> None:
    clock = Clock()
    limit = AtMost(5, clock)
    slow: list[bool] = []
    for _ in range(50):
        clock.now += 0.25
        slow.append(limit.keeps(""))
    assert all(slow)
    clock.now += 10
    assert sum(limit.keeps("") for _ in range(100)) == 5, "as many at once as in a second"
    kept: list[float] = []
    for _ in range(20_000):
        clock.now += 0.001
        if limit.keeps(""):
            kept.append(clock.now)
    pauses = [after - before for before, after in pairwise(kept)]
    assert len(kept) in (99, 100, 101)
    assert min(pauses) == pytest.approx(0.2, abs=0.002)
    assert max(pauses) == pytest.approx(0.2, abs=0.002)


@pytest.mark.parametrize(
    ("keeps", "expected"),
    [(kept_by(ApplicationInsightsSampler(1.0)), 200), (kept_by(ApplicationInsightsSampler(0.0)), 0)],
)
def test_other_samplers_are_asked_by_the_traces_id(keeps: Keeps, expected: int) -> None:
    assert sum(keeps(f"00-{uuid4().hex}-b7ad6b7169203331-01") for _ in range(200)) == expected


def test_microsofts_sampler_says_its_limit() -> None:
    assert rate_limit(RateLimitedSampler(2.5)) == 2.5
    assert rate_limit(RateLimitedSampler(0)) == 0
    assert rate_limit(ApplicationInsightsSampler(0.05)) == 0
