"""Partners in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from shared_code.adapters.memory_rows import View, listing, wanted
from shared_code.model import Listing, Page, Partner, PartnerStatus, PartnerType


@dataclass(frozen=True, slots=True)
class MemoryPartners:
    partners: View[UUID, Partner]

    async def add(self, partner: Partner) -> None:
        await self.partners.add(partner.partner_id, partner)

    async def get(self, partner_id: UUID, *, lock: bool = False) -> Partner | None:
        return await self.partners.lock(partner_id) if lock else self.partners.get(partner_id)

    async def save(self, partner: Partner) -> None:
        known = await self.partners.lock(partner.partner_id)
        if known:
            kept = {name: getattr(known, name) for name in ("type", "auth_method", "created_at", "created_by")}
            self.partners.put(partner.partner_id, replace(partner, **kept))

    async def list(
        self, page: Page, *, type: PartnerType | None = None, status: PartnerStatus | None = None
    ) -> Listing[Partner]:
        rows = self.partners.rows()
        return listing((row for row in rows if wanted((type, row.record.type), (status, row.record.status))), page)

    async def active(self) -> Sequence[UUID]:
        rows = sorted(self.partners.rows(), key=lambda row: row.number)
        return [row.record.partner_id for row in rows if row.record.status is PartnerStatus.ACTIVE]
