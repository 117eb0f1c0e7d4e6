"""How each resource of a partner is read: configured, shown, removed; and what is due is started."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

from shared_code import errors
from shared_code.model import Caller, Job, PartnerStatus, Reading, Source
from shared_code.ports import Clock, Connector, Store, Transaction
from shared_code.services.audit import note, system_caller
from shared_code.services.sync_notes import configured_fact, started_fact, unconfigured_fact

BATCH = 100

logger = logging.getLogger("pinksync.sync")


@dataclass(frozen=True, slots=True)
class SyncSourceService:
    store: Store
    connectors: Mapping[str, Connector]
    now: Clock
    resources: frozenset[str]

    async def put(
        self, caller: Caller, partner_id: UUID, resource: str, reading: Reading, schedule_seconds: int | None
    ) -> Source:
        """Switches a disabled one on again. Read in another way, it is read from the beginning."""
        now = self.now()
        self._check(resource, reading)
        async with self.store.transaction() as transaction:
            partner = await transaction.partners.get(partner_id, lock=True)
            if partner is None or partner.deleted_at:
                raise errors.NotFound()
            await check_event_types(transaction, reading)
            before = await transaction.sources.get(partner_id, resource, lock=True)
            source = configured(before, partner_id, resource, reading, now)
            source = replace(source, schedule_seconds=schedule_seconds, next_run_at=now if schedule_seconds else None)
            await transaction.sources.put(source)
            await note(transaction, caller, configured_fact(source), now)
        return source

    async def get(self, partner_id: UUID, resource: str) -> Source:
        async with self.store.reading() as reading:
            source = await reading.sources.get(partner_id, resource)
        if source is None:
            raise errors.NotFound()
        return source

    async def list(self, caller: Caller, partner_id: UUID) -> Sequence[Source]:
        caller.reach(partner_id)
        async with self.store.reading() as reading:
            if await reading.partners.get(partner_id) is None:
                raise errors.NotFound()
            return await reading.sources.list(partner_id)

    async def remove(self, caller: Caller, partner_id: UUID, resource: str) -> None:
        """Nothing is deleted from the backend; what is known of its records stays, for the next one."""
        async with self.store.transaction() as transaction:
            source = await transaction.sources.get(partner_id, resource, lock=True)
            if source is None:
                raise errors.NotFound()
            await transaction.sources.remove(partner_id, resource)
            await note(transaction, caller, unconfigured_fact(source), self.now())

    async def dispatch(self) -> int:
        """Starts a job for each source whose time has come. Answers how many were started."""
        total, looked = 0, BATCH
        while looked == BATCH:
            async with self.store.transaction() as transaction:
                due = await transaction.sources.due(self.now(), BATCH)
                total += sum([await self._start(transaction, source) for source in due])
            looked = len(due)
        return total

    async def _start(self, transaction: Transaction, source: Source) -> bool:
        """One that is still running is left alone; the next time comes anyway."""
        now, caller = self.now(), system_caller("sync_dispatch")
        await transaction.sources.put(replace(source, next_run_at=source.next_after(now)))
        partner = await transaction.partners.get(source.partner_id)
        if partner is None or partner.deleted_at or partner.status is not PartnerStatus.ACTIVE:
            return False
        job = Job(
            job_id=uuid4(),
            partner_id=source.partner_id,
            job_type=source.scheduled_type(now),
            resource=source.resource,
            not_before=now,
            created_by=caller.actor,
            request_id=caller.origin.request_id,
            created_at=now,
        )
        started = await transaction.jobs.add(job)
        if started:
            await note(transaction, caller, started_fact(job), now)
        return started

    def _check(self, resource: str, reading: Reading) -> None:
        if resource not in self.resources:
            raise errors.NotFound(f"Unknown resource; known are {', '.join(sorted(self.resources))}.")
        if reading.connector not in self.connectors:
            known = ", ".join(sorted(self.connectors))
            violation = errors.Violation(pointer="/connector", detail=f"Unknown connector; known are {known}.")
            raise errors.InvalidBody(violations=[violation])


async def check_event_types(transaction: Transaction, reading: Reading) -> None:
    for word, name in reading.publish.items():
        if await transaction.event_types.get(name) is None:
            violation = errors.Violation(pointer=f"/publish/{word}", detail=f"Unknown event type `{name}`.")
            raise errors.UnknownEventType(violations=[violation])


def configured(before: Source | None, partner_id: UUID, resource: str, reading: Reading, now: datetime) -> Source:
    if before is None:
        return Source(partner_id=partner_id, resource=resource, reading=reading, created_at=now, updated_at=now)
    fresh = replace(before, streak=0, failing_since=None, disabled_at=None, updated_at=now)
    if before.reading == reading:
        return fresh
    return replace(fresh, reading=reading, cursor=None, validators={}, last_full_at=None)
