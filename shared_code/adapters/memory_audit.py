"""The audit trail in memory."""

from dataclasses import dataclass
from uuid import UUID

from shared_code.adapters.memory_rows import View, in_period, listing, wanted
from shared_code.model import AuditEntry, Listing, Page
from shared_code.ports import AuditFilter


@dataclass(frozen=True, slots=True)
class MemoryAuditTrail:
    entries: View[UUID, AuditEntry]

    async def add(self, entry: AuditEntry) -> None:
        await self.entries.add(entry.log_id, entry)

    async def list(self, wanted: AuditFilter, page: Page) -> Listing[AuditEntry]:
        return listing((row for row in self.entries.rows() if passes(wanted, row.record)), page)


def passes(asked: AuditFilter, entry: AuditEntry) -> bool:
    return in_period(entry.created_at, asked.since, asked.until) and wanted(
        (asked.partner_id, entry.partner_id),
        (asked.severity, entry.severity),
        (asked.event_type, entry.event_type),
        (asked.request_id, entry.request_id),
    )
