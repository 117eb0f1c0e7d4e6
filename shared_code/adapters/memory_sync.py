"""Sync sources, and what each of them has, in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared_code.adapters.memory_rows import View, listing
from shared_code.model import Job, Listing, Page, Partner, Quarantined, Seen, Source

type Place = tuple[UUID, str]


@dataclass(frozen=True, slots=True)
class MemorySyncSources:
    sources: View[Place, Source | None]
    """None: it was removed."""
    partners: View[UUID, Partner]

    async def get(self, partner_id: UUID, resource: str, *, lock: bool = False) -> Source | None:
        place = (partner_id, resource)
        return await self.sources.lock(place) if lock else self.sources.get(place)

    async def put(self, source: Source) -> None:
        self.partners.require(source.partner_id)
        place = (source.partner_id, source.resource)
        if not await self.sources.insert(place, source):
            self.sources.put(place, source)

    async def remove(self, partner_id: UUID, resource: str) -> bool:
        place = (partner_id, resource)
        if await self.sources.lock(place) is None:
            return False
        self.sources.put(place, None)
        return True

    async def list(self, partner_id: UUID) -> Sequence[Source]:
        mine = [source for source in self._all() if source.partner_id == partner_id]
        return sorted(mine, key=lambda source: source.resource)

    async def due(self, now: datetime, limit: int) -> Sequence[Source]:
        waiting = [(source.next_run_at, source) for source in self._all() if source.next_run_at]
        taken: list[Source] = []
        for at, source in sorted(waiting, key=lambda pair: pair[0]):
            free = at <= now and source.disabled_at is None and len(taken) < limit
            if free and self.sources.take((source.partner_id, source.resource)):
                taken.append(source)
        return taken

    def _all(self) -> Sequence[Source]:
        return [row.record for row in self.sources.rows() if row.record]


@dataclass(frozen=True, slots=True)
class Kept:
    """`hash` is None for one that was forgotten."""

    hash: bytes | None
    seen_in: UUID


@dataclass(frozen=True, slots=True)
class MemorySyncRecords:
    records: View[tuple[UUID, str, str], Kept]
    set_aside: View[UUID, Quarantined]
    jobs: View[UUID, Job]
    partners: View[UUID, Partner]

    async def known(self, partner_id: UUID, resource: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        found = {key: self.records.get((partner_id, resource, key)) for key in keys}
        return {key: kept.hash for key, kept in found.items() if kept and kept.hash is not None}

    async def keep(self, partner_id: UUID, resource: str, job_id: UUID, seen: Sequence[Seen]) -> None:
        self.partners.require(partner_id)
        for each in seen:
            place, kept = (partner_id, resource, each.key), Kept(each.hash, job_id)
            if not await self.records.insert(place, kept):
                self.records.put(place, kept)

    async def touch(self, partner_id: UUID, resource: str, job_id: UUID, keys: Sequence[str]) -> None:
        for key in keys:
            place = (partner_id, resource, key)
            kept = await self.records.lock(place)
            if kept and kept.hash is not None:
                self.records.put(place, Kept(kept.hash, job_id))

    async def unseen(
        self, partner_id: UUID, resource: str, job_id: UUID, after: str, limit: int
    ) -> tuple[Sequence[str], str | None]:
        places = {place[2]: self.records.get(place) for place in self._places(partner_id, resource)}
        known = sorted(key for key, kept in places.items() if kept and kept.hash is not None and key > after)[:limit]
        unseen = [key for key in known if (kept := places[key]) and kept.seen_in != job_id]
        return unseen, known[-1] if known else None

    def _places(self, partner_id: UUID, resource: str) -> Sequence[tuple[UUID, str, str]]:
        every = {**self.records.table.committed, **self.records.session.written.get(self.records.table, {})}
        return [place for place in every if place[:2] == (partner_id, resource)]

    async def forget(self, partner_id: UUID, resource: str, keys: Sequence[str]) -> None:
        for key in keys:
            place = (partner_id, resource, key)
            kept = await self.records.lock(place)
            if kept:
                self.records.put(place, Kept(None, kept.seen_in))

    async def quarantine(self, rows: Sequence[Quarantined]) -> None:
        for row in rows:
            self.jobs.require(row.job_id)
            await self.set_aside.add(row.quarantine_id, row)

    async def quarantined(self, job_id: UUID, page: Page) -> Listing[Quarantined]:
        return listing((row for row in self.set_aside.rows() if row.record.job_id == job_id), page)
