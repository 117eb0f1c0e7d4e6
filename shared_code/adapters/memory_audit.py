"""The audit trail in memory, and the heads of its archive's chains."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared_code import errors
from shared_code.adapters.memory_rows import View, in_period, listing, wanted
from shared_code.adapters.memory_rules import fresh
from shared_code.model import AuditEntry, AuditRow, ChainHead, Listing, Page
from shared_code.ports import AuditFilter


@dataclass(frozen=True, slots=True)
class MemoryAuditTrail:
    entries: View[UUID, AuditEntry]

    async def add(self, entry: AuditEntry) -> None:
        await self.entries.add(entry.log_id, entry)

    async def list(self, wanted: AuditFilter, page: Page) -> Listing[AuditEntry]:
        return listing((row for row in self.entries.rows() if passes(wanted, row.record)), page)

    async def oldest(self, before: datetime, limit: int) -> Sequence[AuditRow]:
        rows = [AuditRow(number=row.number, entry=fresh(row.record)) for row in self.entries.rows()]
        return sorted((row for row in rows if row.entry.created_at < before), key=lambda row: row.position)[:limit]

    async def remove(self, numbers: Sequence[int]) -> int:
        leaving = [row.record.log_id for row in self.entries.rows() if row.number in set(numbers)]
        for log_id in leaving:
            await self.entries.remove(log_id)
        return len(leaving)

    async def held(self, numbers: Sequence[int]) -> Set[int]:
        return {row.number for row in self.entries.rows()} & set(numbers)


@dataclass(frozen=True, slots=True)
class MemoryChainHeads:
    heads: View[str, ChainHead]

    async def of(self, partitions: Iterable[str]) -> Mapping[str, ChainHead]:
        known = {partition: self.heads.get(partition) for partition in partitions}
        return {partition: head for partition, head in known.items() if head}

    async def list(self, wanted: AuditFilter) -> Sequence[ChainHead]:
        heads = [head for _, head in self.heads.items() if reaches(head, wanted)]
        return sorted(heads, key=lambda head: head.newest, reverse=True)

    async def advance(self, head: ChainHead, was: int) -> None:
        if was == 0 and await self.heads.insert(head.partition, head):
            return
        known = await self.heads.lock(head.partition)
        if known is None or known.sequence != was:
            raise self.heads.session.refuse(errors.Conflict("Another archiver was at this chain."))
        self.heads.put(head.partition, head)


def reaches(head: ChainHead, wanted: AuditFilter) -> bool:
    since, until = wanted.since or head.newest, wanted.until
    own = wanted.partner_id is None or wanted.partner_id == head.partner_id
    return own and head.newest >= since and (until is None or head.oldest < until)


def passes(asked: AuditFilter, entry: AuditEntry) -> bool:
    return in_period(entry.created_at, asked.since, asked.until) and wanted(
        (asked.partner_id, entry.partner_id),
        (asked.severity, entry.severity),
        (asked.event_type, entry.event_type),
        (asked.request_id, entry.request_id),
    )
