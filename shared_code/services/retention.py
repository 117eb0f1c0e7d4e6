"""What leaves in time, and when: the one table of it. In small batches, so that nobody else waits for long."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared_code import errors
from shared_code.ports import Clock, Perishable, Store, Transaction
from shared_code.settings import Kept

BATCH = 1000
FEW = 200
"""Of what takes much else with it."""
PASS_DAYS = 1
"""Links and states of OAuth: as long, the audit trail can say whose it was that somebody tried again."""
LONGEST_RUN = 120.0
"""Seconds after which a run ends; the next one goes on."""
REST = 3.0
"""Times as long as a batch took, between two: three quarters of the time are others'."""
LEAST_PAUSE = 0.025
"""Seconds: at most 40 batches a second, so that the disk has time for others too."""

logger = logging.getLogger("pinksync.retention")

type Clear = Callable[[Transaction, datetime], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What leaves, how long after it is over, and how one batch of it is cleared."""

    what: str
    kept: timedelta
    batch: int
    clear: Clear


def rows(what: Perishable, days: int = 0, batch: int = BATCH) -> Rule:
    """Whole rows. Those with an end of their own leave right after it: 0 days."""
    return Rule(what, timedelta(days=days), batch, lambda tables, before: tables.retention.clear(what, before, batch))


def payloads(days: int) -> Rule:
    return Rule("payloads", timedelta(days=days), BATCH, lambda tables, before: tables.events.clear(before, BATCH))


def answers(days: int) -> Rule:
    def clear(tables: Transaction, before: datetime) -> Awaitable[int]:
        return tables.deliveries.clear_answers(before, BATCH)

    return Rule("endpoints' answers", timedelta(days=days), BATCH, clear)


def table(kept: Kept) -> Sequence[Rule]:
    """Everything that leaves. A new kind is a line here, in Perishable, and in the adapters' own tables."""
    return (
        rows(Perishable.SESSIONS),
        rows(Perishable.REPLIES),
        rows(Perishable.RATE_LIMITS),
        rows(Perishable.OAUTH_LINKS, PASS_DAYS),
        rows(Perishable.OAUTH_STATES, PASS_DAYS),
        rows(Perishable.OAUTH_PROVIDERS, kept.record_days),
        rows(Perishable.INBOUND_SECRETS),
        payloads(kept.payload_days),
        answers(kept.payload_days),
        rows(Perishable.EVENTS, kept.event_days, FEW),
        rows(Perishable.OUTBOX, kept.outbox_days),
        rows(Perishable.INBOX, kept.inbox_days),
        rows(Perishable.INBOUND_RECORDS, kept.record_days),
        rows(Perishable.SYNC_RECORDS, kept.record_days),
        rows(Perishable.REVIEWS, kept.review_days),
        rows(Perishable.SYNC_JOBS, kept.job_days),
        rows(Perishable.TIMER_RUNS, kept.timer_run_days),
    )


@dataclass(frozen=True, slots=True)
class RetentionService:
    store: Store
    now: Clock
    rules: Sequence[Rule]
    longest_run: float = LONGEST_RUN

    async def clear(self) -> int:
        """Answers how many rows left or were emptied. One kind that fails does not keep the others."""
        until, total = time.monotonic() + self.longest_run, 0
        failures: list[errors.PinkSyncError] = []
        for rule in self.rules:
            try:
                total += await self._follow(rule, until)
            except errors.PinkSyncError as error:
                logger.warning("retention of %s failed: %s", rule.what, error.code)
                failures.append(error)
        if failures:
            raise failures[0]
        return total

    async def _follow(self, rule: Rule, until: float) -> int:
        """Batch by batch, each its own transaction, with a rest between."""
        before, total = self.now() - rule.kept, 0
        while time.monotonic() < until:
            began = time.monotonic()
            async with self.store.transaction() as transaction:
                cleared = await rule.clear(transaction, before)
            total += cleared
            if cleared < rule.batch:
                break
            await asyncio.sleep(max(REST * (time.monotonic() - began), LEAST_PAUSE))
        if total:
            logger.info("retention: %d of %s", total, rule.what)
        return total
