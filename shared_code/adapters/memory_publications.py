"""Publications in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from shared_code.adapters.memory_deliveries import MemoryDeliveries
from shared_code.adapters.memory_events import MemoryEvents
from shared_code.adapters.memory_outbox import MemoryOutbox
from shared_code.adapters.memory_rows import View
from shared_code.model import Event, OutboxKind, Partner, PartnerStatus


@dataclass(frozen=True, slots=True)
class MemoryPublications:
    events: MemoryEvents
    deliveries: MemoryDeliveries
    outbox: MemoryOutbox
    partners: View[UUID, Partner]

    async def add(self, events: Sequence[Event], max_attempts: int) -> Mapping[UUID, PartnerStatus | None]:
        standing = {event.partner_id: self._standing(event.partner_id) for event in events}
        for event in events:
            served = serves(standing[event.partner_id])
            if served and await self.events.add(event):
                await self.deliveries.open(event, max_attempts)
                await self.outbox.add(OutboxKind.SEND_EVENT, event.partner_id, event.event_id, event.created_at)
        return {partner_id: status for partner_id, status in standing.items() if not serves(status)}

    def _standing(self, partner_id: UUID) -> PartnerStatus | None:
        partner = self.partners.get(partner_id)
        return partner.status if partner and not partner.deleted_at else None


def serves(status: PartnerStatus | None) -> bool:
    return status in (PartnerStatus.ACTIVE, PartnerStatus.PENDING)
