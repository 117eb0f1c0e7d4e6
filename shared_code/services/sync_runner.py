"""The job runner: claims what is due, works each job for a slice of time, and says what became of it.

A job is a row; a timer only wakes the runner. Whoever dies loses the lease, not the work; whoever wakes up after
its lease finds its fence old (facts/security.md 2.15).
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared_code import errors
from shared_code.model import ErrorClass, Job, JobStatus, JobType, Leave, PartnerStatus, Source
from shared_code.ports import StaleFence, SyncFailed, SyncWait, Transaction
from shared_code.services.audit import note, system_caller
from shared_code.services.events import NewEvent
from shared_code.services.sync_notes import disabled_fact, failed_fact
from shared_code.services.sync_source_state import failed, worn_out
from shared_code.services.sync_tools import Lost, SyncTools
from shared_code.services.sync_work import SyncWork
from shared_code.services.webhook_retry import WebhookRetry

LOOK_SECONDS = 0.5
"""How often a runner that is busy looks for another job."""
MOST_ATTEMPTS = 5
"""Failures in a row of one page."""
MOST_CLAIMS = 20
"""Claims in a row without one step: whatever it is, it kills its workers."""
LONGEST_PAUSE = 300.0

logger = logging.getLogger("pinksync.sync")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how much."""

    slice_seconds: float
    """A runner ends after about so long; what is left goes on in the next one."""
    at_once: int
    backoff_seconds: float
    disable_failures: int
    disable_days: int


@dataclass(frozen=True, slots=True)
class SyncRunner:
    tools: SyncTools
    webhook_retry: WebhookRetry
    limits: Limits

    async def run(self) -> int:
        """Works until nothing is due or its time is up. Answers how many slices were worked."""
        ends, total = time.monotonic() + self.limits.slice_seconds, 0
        working: set[asyncio.Task[None]] = set()
        while True:
            while len(working) < self.limits.at_once and time.monotonic() < ends and (job := await self._claim()):
                working.add(asyncio.create_task(self._work(job, lambda: time.monotonic() >= ends)))
                total += 1
            if not working:
                return total
            done, working = await asyncio.wait(working, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _claim(self) -> Job | None:
        async with self.tools.store.transaction() as transaction:
            return await transaction.jobs.claim(self.tools.now(), self.tools.lease)

    async def _work(self, job: Job, time_is_up: Callable[[], bool]) -> None:
        """One slice of one job. What becomes of it is stored; if even that fails, its lease runs out."""
        try:
            failure = await self._outcome(job, time_is_up)
            if failure:
                await self._failed(job, failure)
        except errors.PinkSyncError as error:
            logger.warning("job %s: %s; it goes on when its lease is over", job.job_id, error.code)

    async def _outcome(self, job: Job, time_is_up: Callable[[], bool]) -> SyncFailed | None:
        try:
            await self._worked(job, time_is_up)
        except SyncFailed as failure:
            return failure
        except errors.StoreUnavailable:
            raise
        except errors.PinkSyncError as error:
            return failure_of(error)
        except Exception as error:
            logger.exception("job %s: %s", job.job_id, type(error).__name__)
            return SyncFailed(ErrorClass.SYSTEM, "The gateway failed; its log has the cause.")
        return None

    async def _worked(self, job: Job, time_is_up: Callable[[], bool]) -> None:
        try:
            async with self._held(job):
                done = await self._slice(job, time_is_up)
            if not done:
                await self._leave(job, Leave(not_before=self.tools.now()))
        except Lost:
            logger.info("job %s is cancelled or another worker's", job.job_id)
        except StaleFence:
            await self._shut_out(job)
        except SyncWait as wait:
            await self._leave(job, Leave(not_before=self.tools.now() + timedelta(seconds=wait.seconds)))

    async def _slice(self, job: Job, time_is_up: Callable[[], bool]) -> bool:
        if job.attempt > MOST_CLAIMS:
            raise SyncFailed(ErrorClass.SYSTEM, f"It stopped {MOST_CLAIMS} times without getting on.")
        if job.job_type is JobType.WEBHOOK_RETRY:
            return await self.webhook_retry.work(job, self.tools.lease, time_is_up)
        work = await self._begun(job)
        return await work.go(time_is_up)

    async def _begun(self, job: Job) -> SyncWork:
        async with self.tools.store.reading() as reading:
            partner = await reading.partners.get(job.partner_id)
            source = await reading.sources.get(job.partner_id, job.resource or "")
        if partner is None or partner.deleted_at:
            raise Lost
        if partner.status not in (PartnerStatus.ACTIVE, PartnerStatus.PENDING):
            raise SyncFailed(ErrorClass.CONFIG, f"The partner is {partner.status.value}; its API is not called.")
        if not partner.api_endpoint:
            raise SyncFailed(ErrorClass.CONFIG, "The partner has no api_endpoint to read from.")
        if source is None:
            raise SyncFailed(ErrorClass.CONFIG, "The configuration of this sync was removed.")
        return SyncWork.begin(self.tools, job, partner, source)

    @asynccontextmanager
    async def _held(self, job: Job) -> AsyncGenerator[None]:
        """The lease is renewed for as long as this process runs, however long a page takes."""
        beating = asyncio.create_task(self._beat(job))
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _beat(self, job: Job) -> None:
        ours = True
        while ours:
            await asyncio.sleep(self.tools.lease.total_seconds() / 3)
            try:
                ours = await self._still_ours(job)
            except errors.PinkSyncError as error:
                logger.warning("job %s: no heartbeat: %s", job.job_id, error.code)

    async def _still_ours(self, job: Job) -> bool:
        async with self.tools.store.transaction() as transaction:
            return await transaction.jobs.beat(job, self.tools.now() + self.tools.lease)

    async def _leave(self, job: Job, leave: Leave) -> None:
        async with self.tools.store.transaction() as transaction:
            await transaction.jobs.leave(job, leave, self.tools.now())

    async def _shut_out(self, job: Job) -> None:
        """The backend has seen a higher fence. If nobody has the job but us, our numbers went back: a restored
        database."""
        if await self._still_ours(job):
            message = "The business backend has seen a later sync than this database knows; it takes no older one."
            raise SyncFailed(ErrorClass.SYSTEM, message)

    async def _failed(self, job: Job, failure: SyncFailed) -> None:
        """A transient one is tried again, a few times; any other ends the job."""
        now = self.tools.now()
        async with self.tools.store.transaction() as transaction:
            known = await transaction.jobs.get(job.job_id) or job
            if failure.error_class is ErrorClass.TRANSIENT and known.attempt < MOST_ATTEMPTS:
                pause = failure.retry_after or self._pause(known.attempt)
                again = leave_for(failure, JobStatus.RUNNING, now + timedelta(seconds=pause))
                await transaction.jobs.leave(job, again, now)
            elif await transaction.jobs.leave(job, leave_for(failure, JobStatus.FAILED, now), now):
                await note(transaction, system_caller("sync"), failed_fact(known, failure), now)
                await self._count_failure(transaction, known, failure)

    def _pause(self, attempt: int) -> float:
        longest = min(LONGEST_PAUSE, self.limits.backoff_seconds * 2**attempt)
        return random.uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret

    async def _count_failure(self, transaction: Transaction, job: Job, failure: SyncFailed) -> None:
        source = await transaction.sources.get(job.partner_id, job.resource or "", lock=True)
        if source is None or source.disabled_at:
            return
        now, limits = self.tools.now(), self.limits
        after = failed(source, now)
        if worn_out(after, limits.disable_failures, limits.disable_days, now):
            after = after.disabled(now)
            await note(transaction, system_caller("sync"), disabled_fact(after), now)
            await self._tell(transaction, job, disabled_event(after, failure))
        await transaction.sources.put(after)

    async def _tell(self, transaction: Transaction, job: Job, event: NewEvent) -> None:
        partner = await transaction.partners.get(job.partner_id)
        if partner and partner.status is PartnerStatus.ACTIVE and not partner.deleted_at:
            await self.tools.events.publish(system_caller("sync"), event)


def leave_for(failure: SyncFailed, status: JobStatus, not_before: datetime) -> Leave:
    return Leave(
        status=status,
        not_before=not_before,
        progressed=False,
        error_class=failure.error_class,
        error_message=failure.message,
    )


def disabled_event(source: Source, failure: SyncFailed) -> NewEvent:
    payload = {
        "resource": source.resource,
        "failures": source.streak,
        "failing_since": source.failing_since.isoformat() if source.failing_since else None,
        "error_class": failure.error_class.value,
    }
    return NewEvent(event_type="sync.disabled", payload=payload, partner_id=source.partner_id)


TRANSIENT = (errors.UpstreamUnreachable, errors.UpstreamTimeout, errors.Unavailable)
CONFIG = (errors.UpstreamFailed, errors.InvalidBody, errors.Conflict, errors.BadRequest)


def failure_of(error: errors.PinkSyncError) -> SyncFailed:
    """An error of a port, as what it means for a job."""
    if isinstance(error, TRANSIENT):
        return SyncFailed(ErrorClass.TRANSIENT, error.message)
    return SyncFailed(ErrorClass.CONFIG if isinstance(error, CONFIG) else ErrorClass.SYSTEM, error.message)
