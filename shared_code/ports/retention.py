"""What is kept for a time only, and its end."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Perishable(StrEnum):
    """Rows that may leave as a whole. Each is `over` at a time of its own."""

    SESSIONS = "sessions"
    """When the session ends."""
    REPLIES = "idempotency_replies"
    """When the answer is no longer kept for its key."""
    RATE_LIMITS = "rate_limits"
    """When the window ends."""
    OUTBOX = "outbox"
    """When it was done: never before, and never one that was buried."""
    INBOX = "inbox"
    """As the outbox. Its row is what tells a message that comes again."""
    EVENTS = "events"
    """When it was published, if its payload is cleared and its deliveries are all finished; they leave with it."""
    REVIEWS = "reviews"
    """When it was resolved."""
    SYNC_JOBS = "sync_jobs"
    """When it completed, however."""
    TIMER_RUNS = "timer_runs"
    """When it started."""


class Retention(Protocol):
    async def clear(self, what: Perishable, before: datetime, limit: int) -> int:
        """The oldest that were over before then are gone. Answers how many."""
        ...
