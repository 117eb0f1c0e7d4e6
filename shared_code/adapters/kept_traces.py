"""Which traces are kept: decided once for each, before anything is made of it.

Microsoft's samplers are asked anew for every span, and one question costs a warm request as much as all else that
telemetry does.
"""

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context  # pyright: ignore[reportPrivateUsage] - its one name
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

STANDS_FOR = context.create_key("pinksync-stands-for")
"""In the context of a trace that is kept: for how many it stands, itself and those left out since the last."""
LEFT_OUT: ContextVar[str | None] = ContextVar("left_out", default=None)
"""The `traceparent` of the trace under way when it is not kept."""
NOT_SAMPLED = "02468ace"
"""Last digits of a traceparent whose trace the host does not keep."""

type Keeps = Callable[[str], bool]
"""Is the trace of this `traceparent` kept?"""


@dataclass(slots=True)
class AtMost:
    """So many traces a second: as many at once after a quiet second, and evenly spread while more come."""

    per_second: float
    clock: Callable[[], float] = time.monotonic
    _booked_until: float = 0.0

    def keeps(self, _: str) -> bool:
        now = self.clock()
        if self._booked_until >= now + 1:
            return False
        self._booked_until = max(now, self._booked_until) + 1 / self.per_second
        return True


def kept_by(sampler: Sampler) -> Keeps:
    """By the trace's id, as every other sampler goes that OTEL_TRACES_SAMPLER may name."""
    return lambda given: sampler.should_sample(None, int(given[3:35], 16), "").decision.is_sampled()


class LeftOut(NonRecordingSpan):
    """The host's span, of whichever trace is left out here; its ids are read when something passes them on."""

    def get_span_context(self) -> SpanContext:
        given = LEFT_OUT.get()
        if not given:
            return INVALID_SPAN_CONTEXT
        _, trace_id, span_id, _ = given.split("-")
        return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True)


SILENT = trace.set_span_in_context(
    LeftOut(INVALID_SPAN_CONTEXT), context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True, Context())
)
"""One context for all that is left out: inside, nothing that is instrumented makes a span."""


@dataclass(slots=True)
class Door:
    """Reads the trace of each invocation. What the host does not keep is not kept here either."""

    keeps: Keeps
    w3c: TraceContextTextMapPropagator = field(default_factory=TraceContextTextMapPropagator)
    _left_out: int = 0

    def extract(self, carrier: Mapping[str, str | None]) -> Context:
        given = carrier["traceparent"] or ""
        if not given.startswith("00-"):  # the host writes no other; it would not be for us to fail on one
            LEFT_OUT.set(None)
            return Context()
        if given[-1] in NOT_SAMPLED or not self.keeps(given):
            LEFT_OUT.set(given)
            self._left_out += 1
            return SILENT
        LEFT_OUT.set(None)
        stands_for, self._left_out = self._left_out + 1, 0
        return context.set_value(STANDS_FOR, stands_for, self.w3c.extract(carrier))


def decide_at_the_door(keeps: Keeps) -> None:
    """The Functions worker reads every invocation's trace before it calls the function, by what it is given here.

    It does so with PYTHON_ENABLE_OPENTELEMETRY; without, a trace begins at its first span, and its sampler decides.
    """
    from azure_functions_runtime.otel import otel_manager

    otel_manager.set_trace_context_propagator(Door(keeps))
