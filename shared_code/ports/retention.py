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
    OAUTH_LINKS = "oauth_links"
    """When the link ends, used or not."""
    OAUTH_STATES = "oauth_states"
    """As links."""
    OAUTH_PROVIDERS = "oauth_providers"
    """When its partner was removed, if no token is to be revoked any more."""
    INBOUND_SECRETS = "inbound_secrets"
    """When the secret's grace ends: never the newest of a partner, which has no end until the partner is removed."""
    OUTBOX = "outbox"
    """When it was done: never before, and never one that was buried, until its review is resolved."""
    INBOX = "inbox"
    """As the outbox. Its row is what tells a message that comes again."""
    INBOUND_RECORDS = "inbound_records"
    """When an event last wrote the business record. Its row is what tells an event that comes late."""
    SYNC_RECORDS = "sync_records"
    """When its partner was removed. What a living partner's syncs know is never over."""
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
