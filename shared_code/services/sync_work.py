"""One sync at work: page by page, each landed first and then counted (design.md flow 4).

Landing is an upsert by natural key, so a page that is landed twice changes nothing; counts, checkpoint, known
records, quarantine and events of a page are one transaction under the job's fence. A worker that dies between the
two repeats a page; one that lost its job writes nothing any more.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from uuid import uuid4

from shared_code.model import (
    Caller,
    ErrorClass,
    Job,
    JobStatus,
    JobType,
    Leave,
    Partner,
    Quarantined,
    Seen,
    Source,
    Step,
)
from shared_code.ports import (
    Fetched,
    PageAsk,
    Shelf,
    SyncFailed,
    Transaction,
)
from shared_code.services.audit import note, system_caller
from shared_code.services.events import NewEvent
from shared_code.services.sync_landing import land, remove
from shared_code.services.sync_notes import completed_fact
from shared_code.services.sync_progress import Progress, sweeps
from shared_code.services.sync_records import Bad, Good, sorted_out, storable
from shared_code.services.sync_source_state import completed, since_of
from shared_code.services.sync_tools import Lost, SyncTools

SWEEP = 5000
"""Known keys looked at in one step."""


ENDLESS = "The partner's API gives the same pages again and again; that would never end."
EMPTY = "The partner's list is empty, and it was not before; nothing was deleted."
type News = Sequence[tuple[str, Mapping[str, object]]]
"""(created, updated or deleted) → the record."""


@dataclass(slots=True, eq=False)
class SyncWork:
    """One claim of one job."""

    tools: SyncTools
    job: Job
    partner: Partner
    source: Source
    progress: Progress
    caller: Caller

    @classmethod
    def begin(cls, tools: SyncTools, job: Job, partner: Partner, source: Source) -> "SyncWork":
        progress = Progress.of(job) if job.checkpoint else Progress(since=since_of(job, source))
        return cls(tools, job, partner, source, progress, system_caller("sync"))

    async def go(self, time_is_up: Callable[[], bool]) -> bool:
        """True: the job is completed. False: its time is up. Raises Lost, SyncFailed, SyncWait, errors of ports."""
        if not self.progress.all_read and not await self._read(time_is_up):
            return False
        if self.progress.too_bad(self.job.records_failed):
            raise too_bad(self.job.records_failed)
        if sweeps(self.job, self.progress, self.source.reading.delete_missing) and not await self._sweep(time_is_up):
            return False
        await self._complete()
        return True

    async def _read(self, time_is_up: Callable[[], bool]) -> bool:
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                await self._take(page)
                if self.progress.too_bad(self.job.records_failed):
                    raise too_bad(self.job.records_failed)
                if page.next and self.progress.endless:
                    raise SyncFailed(ErrorClass.CONFIG, ENDLESS)
                if page.next and time_is_up():
                    return False
        return True

    async def _pages(self) -> AsyncGenerator[Fetched]:
        """Each page, while the next one is on its way; never more than that one."""
        coming = asyncio.create_task(self._fetch(self.progress))
        try:
            while True:
                page = await coming
                if page.next:
                    coming = asyncio.create_task(self._fetch(replace(self.progress, position=page.next)))
                yield page
                if not page.next:
                    return
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _fetch(self, at: Progress) -> Fetched:
        reading = self.source.reading
        incremental = self.job.job_type is JobType.INCREMENTAL_SYNC
        ask = PageAsk(
            reading=reading,
            base=self.partner.api_endpoint or "",
            position=at.position,
            since=at.since,
            validators=self.source.validators if incremental else {},
            hidden=await self.tools.reads.hidden(self.partner),
        )
        get = self.tools.reads.of(self.partner, self.caller.origin.request_id)
        return await self.tools.connectors[reading.connector].fetch(get, ask)

    async def _take(self, page: Fetched) -> None:
        """One page: sorted, landed, counted."""
        reading = self.source.reading
        found = sorted_out(page.records, reading)
        async with self.tools.store.reading() as store:
            known = await store.records.known(self.partner.partner_id, self.source.resource, list(found.good))
        changed = [each for each in found.good.values() if known.get(each.key) != each.hash]
        full = self.job.job_type is JobType.FULL_SYNC
        progress = self.progress.after(page, found, reading.cursor, reading.paging.style)
        wanted = list(found.good.values()) if full else changed
        refused = await land(self.tools.landing, self._shelf(), wanted, progress.most_bad())
        if len(refused) > progress.most_bad():
            await self._commit(self.progress.step(processed=len(refused), failed=len(refused)), [], refused, [])
            raise too_bad(self.job.records_failed)
        names = {bad.key for bad in refused}
        landed = [each for each in wanted if each.key not in names]
        changed = [each for each in changed if each.key not in names]
        bad = [*found.bad, *refused]
        processed = len(page.records) if full else len(changed) + len(bad)
        step = progress.step(processed=processed, failed=len(bad), changed=len(changed))
        news = [("updated" if each.key in known else "created", each.body) for each in changed]
        await self._commit(step, landed, bad, news)
        self.progress = progress

    async def _commit(self, step: Step, landed: Sequence[Good], bad: Sequence[Bad], news: News) -> None:
        partner_id, resource, job_id = self.partner.partner_id, self.source.resource, self.job.job_id
        async with self.tools.store.transaction() as transaction:
            self.job = await self._advance(transaction, step)
            if landed:
                seen = [Seen(key=each.key, hash=each.hash) for each in landed]
                await transaction.records.keep(partner_id, resource, job_id, seen)
            if bad:
                keys = [each.key for each in bad if each.key is not None]
                await transaction.records.touch(partner_id, resource, job_id, keys)
                await transaction.records.quarantine([self._quarantined(each) for each in bad])
            await self._publish(news)
        if landed:
            await self.tools.answers.drop(str(partner_id), resource)

    async def _advance(self, transaction: Transaction, step: Step) -> Job:
        job = await transaction.jobs.advance(self.job, step, self.tools.now() + self.tools.lease)
        if job is None:
            raise Lost
        return job

    async def _publish(self, news: News) -> None:
        """In the transaction that counts them, so each is published once."""
        wanted = self.source.reading.publish
        for word, body in news:
            if word in wanted:
                event = NewEvent(event_type=wanted[word], payload=body, partner_id=self.partner.partner_id)
                await self.tools.events.publish(self.caller, event)

    async def _sweep(self, time_is_up: Callable[[], bool]) -> bool:
        """Deletes what a whole reading of the list did not find."""
        partner_id, resource = self.partner.partner_id, self.source.resource
        while True:
            async with self.tools.store.reading() as store:
                after = self.progress.swept
                gone, last = await store.records.unseen(partner_id, resource, self.job.job_id, after, SWEEP)
            if last is None:
                return True
            if gone and not self.progress.read:
                raise SyncFailed(ErrorClass.CONFIG, EMPTY)
            await remove(self.tools.landing, self._shelf(), gone)
            await self._commit_swept(gone, replace(self.progress, swept=last))
            if time_is_up():
                return False

    async def _commit_swept(self, gone: Sequence[str], progress: Progress) -> None:
        partner_id, resource = self.partner.partner_id, self.source.resource
        async with self.tools.store.transaction() as transaction:
            self.job = await self._advance(transaction, progress.step(deleted=len(gone)))
            if gone:
                await transaction.records.forget(partner_id, resource, gone)
            await self._publish([("deleted", {"external_id": key}) for key in gone])
        self.progress = progress
        if gone:
            await self.tools.answers.drop(str(partner_id), resource)

    async def _complete(self) -> None:
        now = self.tools.now()
        async with self.tools.store.transaction() as transaction:
            partner = await transaction.partners.get(self.partner.partner_id, lock=True)
            if not await transaction.jobs.leave(self.job, Leave(status=JobStatus.COMPLETED, not_before=now), now):
                raise Lost
            if partner:
                await transaction.partners.save(replace(partner, last_sync_at=now))
            await self._note_source(transaction)
            await note(transaction, self.caller, completed_fact(self.job), now)

    async def _note_source(self, transaction: Transaction) -> None:
        source = await transaction.sources.get(self.source.partner_id, self.source.resource, lock=True)
        if source and source.reading == self.source.reading:
            await transaction.sources.put(completed(source, self.job, self.progress, self.tools.now()))

    def _shelf(self) -> Shelf:
        return Shelf(
            partner_id=self.partner.partner_id,
            resource=self.source.resource,
            fence=self.job.fence,
            request_id=self.caller.origin.request_id,
        )

    def _quarantined(self, bad: Bad) -> Quarantined:
        return Quarantined(
            quarantine_id=uuid4(),
            job_id=self.job.job_id,
            key=bad.key,
            reason=bad.reason,
            record=storable(bad.record),
            created_at=self.tools.now(),
        )


def too_bad(failed: int) -> SyncFailed:
    return SyncFailed(ErrorClass.CONFIG, f"{failed} records could not land: too many to go on. See the quarantine.")
