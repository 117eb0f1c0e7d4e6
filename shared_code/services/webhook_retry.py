"""The webhook_retry job: a partner's failed and skipped deliveries are owed to the webhook service once more."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared_code.model import Caller, Endpoint, Job, JobStatus, Leave, Page, Step
from shared_code.ports import Clock, Store
from shared_code.services.audit import note, system_caller
from shared_code.services.deliveries import DeliveryService
from shared_code.services.sync_notes import completed_fact
from shared_code.services.sync_tools import Lost

BATCH = 200
MOST_ENDPOINTS = 200
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WebhookRetry:
    store: Store
    deliveries: DeliveryService
    now: Clock

    async def work(self, job: Job, lease: timedelta, time_is_up: Callable[[], bool]) -> bool:
        """Those that had failed when the job was made, of enabled endpoints. True: all of them are sent again."""
        caller, endpoints = system_caller("sync"), await self._endpoints(job)
        if job.records_total is None:
            job = await self._counted(job, caller, endpoints, lease)
        while job.records_processed < (job.records_total or 0):
            after = await self._batch(job, caller, endpoints, lease)
            if after.records_processed == job.records_processed:
                break  # the rest was delivered or sent again meanwhile
            job = after
            if time_is_up():
                return False
        await self._complete(job, caller)
        return True

    async def _endpoints(self, job: Job) -> list[Endpoint]:
        async with self.store.reading() as reading:
            found = await reading.endpoints.list(Page(limit=MOST_ENDPOINTS), partner_id=job.partner_id)
        return [endpoint for endpoint in found.items if endpoint.enabled]

    async def _counted(self, job: Job, caller: Caller, endpoints: list[Endpoint], lease: timedelta) -> Job:
        counts = [
            await self.deliveries.recover(caller, endpoint, BEGINNING, job.created_at, dry=True)
            for endpoint in endpoints
        ]
        return await self._advance(job, Step(checkpoint={}, progress_percent=0.0, total=sum(counts)), lease)

    async def _batch(self, job: Job, caller: Caller, endpoints: list[Endpoint], lease: timedelta) -> Job:
        """Counted and owed as one, under the fence."""
        async with self.store.transaction():
            sent = 0
            for endpoint in endpoints:
                if sent < BATCH:
                    most = BATCH - sent
                    sent += await self.deliveries.recover(
                        caller, endpoint, BEGINNING, job.created_at, dry=False, most=most
                    )
            total = job.records_total or 1
            percent = min(99.99, 100 * (job.records_processed + sent) / total)
            step = Step(checkpoint={}, progress_percent=percent, processed=sent)
            return await self._advance(job, step, lease)

    async def _advance(self, job: Job, step: Step, lease: timedelta) -> Job:
        async with self.store.transaction() as transaction:
            after = await transaction.jobs.advance(job, step, self.now() + lease)
        if after is None:
            raise Lost
        return after

    async def _complete(self, job: Job, caller: Caller) -> None:
        now = self.now()
        async with self.store.transaction() as transaction:
            if not await transaction.jobs.leave(job, Leave(status=JobStatus.COMPLETED, not_before=now), now):
                raise Lost
            await note(transaction, caller, completed_fact(job), now)
