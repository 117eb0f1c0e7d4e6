"""Waiting for something to come about, without sleeping and hoping."""

import time
from collections.abc import Callable


def eventually[T](look: Callable[[], T], *, seconds: float = 8) -> T:
    """What `look` returns once that is true; fails when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found or time.monotonic() > deadline:
            assert found, f"did not come about within {seconds} s"  # noqa: S101 (for tests)
            return found
        time.sleep(0.02)
