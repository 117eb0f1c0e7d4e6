"""When to try again, and when to give up on an endpoint (facts/svix.md §2, Retry schedule, Auto-disable)."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil

from devstack.svix_server.clock import SECOND, from_seconds
from devstack.svix_server.settings import Settings
from devstack.svix_server.webhook_client import WebhookResponse

_FAILURE_REMEMBERED_AT_LEAST = 3_600 * SECOND


def retry_delay(settings: Settings, attempts_before: int, response: WebhookResponse) -> float | None:
    """Seconds until the next attempt, after `attempts_before` and this one failed; None: exhausted."""
    if attempts_before >= len(settings.retry_schedule):
        return None
    delay = settings.retry_schedule[attempts_before]
    if response.timed_out:
        delay = max(delay, settings.overload_penalty)
    wished = retry_after_seconds(response.retry_after)
    if wished is not None:
        delay = min(max(wished, delay), 2 * delay)
    return delay * random.uniform(1 - settings.jitter, 1 + settings.jitter)  # noqa: S311 (spreads load only)


def retry_after_seconds(header: str | None) -> float | None:
    """An HTTP date, or seconds rounded up."""
    if header is None:
        return None
    try:
        return max(ceil(float(header)), 0)
    except (ValueError, OverflowError):
        pass
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max((until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0)


def first_failure(settings: Settings, remembered: int | None, now: int) -> tuple[int, bool]:
    """Since when the endpoint fails, and whether that is long enough to disable it."""
    period = from_seconds(settings.disable_after)
    if remembered is None or now - remembered > max(2 * period, _FAILURE_REMEMBERED_AT_LEAST):
        return now, False
    return remembered, now - remembered > period
