"""Moments: whole microseconds since 1970 inside, RFC 3339 with `Z` outside (facts/svix.md §1).

There is no adjustable clock: signatures carry the real time, so receivers can check them. Tests that
want the future move what is pending into the past instead (see `api/devstack.py`).
"""

import time
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
DAY = 86_400 * SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> int:
    return time.time_ns() // 1_000


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_seconds(seconds: float) -> int:
    return round(seconds * SECOND)


def rfc3339(at: int) -> str:
    moment = _EPOCH + timedelta(microseconds=at)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rfc3339_or_none(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
