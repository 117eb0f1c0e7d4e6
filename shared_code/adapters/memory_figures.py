"""What stands in the memory store at one moment."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from shared_code.adapters.memory_deliveries import Watched
from shared_code.adapters.memory_inbox import Received
from shared_code.adapters.memory_outbox import Debt
from shared_code.adapters.memory_rows import View
from shared_code.model import Partner, PartnerStatus, Review
from shared_code.ports import Clock, Figures


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    partners: View[UUID, Partner]
    debts: View[int, Debt]
    received: View[int, Received]
    reviews: View[UUID, Review]
    deliveries: View[UUID, Watched]
    clock: Clock

    async def read(self) -> Figures:
        now = self.clock()
        debts = [row.record for row in self.debts.rows()]
        due = [debt.item.created_at for debt in debts if debt.owed and debt.not_before <= now]
        return Figures(
            active_partners=sum(row.record.status is PartnerStatus.ACTIVE for row in self.partners.rows()),
            outbox_owed=sum(debt.owed for debt in debts),
            outbox_buried=sum(debt.buried_at is not None and debt.done_at is None for debt in debts),
            outbox_age_seconds=(now - min(due)) / timedelta(seconds=1) if due else 0.0,
            inbox_owed=sum(row.record.owed for row in self.received.rows()),
            reviews_open=sum(row.record.resolved_at is None for row in self.reviews.rows()),
            deliveries_unfinished=sum(row.record.check_at is not None for row in self.deliveries.rows()),
        )
