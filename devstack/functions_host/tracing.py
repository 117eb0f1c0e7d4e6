"""W3C trace context: the host makes the request's span, and hands its id to Python (facts section 9 item 5)."""

import random
import re
from collections.abc import Mapping

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_bits = random.Random().getrandbits  # noqa: S311 - ids, not secrets

Trace = tuple[str, str]


def new_trace() -> Trace:
    """(traceparent, tracestate) of a call nobody caused: sampled, so that the app's spans are recorded."""
    return f"00-{_bits(128):032x}-{_bits(64):016x}-01", ""


def continued(headers: Mapping[str, str]) -> Trace:
    """A child of the incoming traceparent, or a new trace where there is none (or not a valid one)."""
    incoming = headers.get("traceparent")
    found = _TRACEPARENT.fullmatch(incoming) if incoming else None
    if found is None:
        return new_trace()
    return f"00-{found[1]}-{_bits(64):016x}-{found[2]}", headers.get("tracestate", "")


def new_invocation_id() -> str:
    text = f"{_bits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
