"""The outbox in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code.adapters.memory_rows import View
from shared_code.model import OutboxItem, OutboxKind, Partner


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """An item, and what became of it. `not_before` is also the end of a lease."""

    item: OutboxItem
    not_before: datetime
    last_error: str | None = None
    done_at: datetime | None = None
    buried_at: datetime | None = None

    @property
    def owed(self) -> bool:
        return self.done_at is None and self.buried_at is None


@dataclass(frozen=True, slots=True)
class MemoryOutbox:
    debts: View[int, Debt]
    partners: View[UUID, Partner]

    async def add(self, kind: OutboxKind, partner_id: UUID | None, subject: str, now: datetime) -> int:
        if partner_id:
            self.partners.require(partner_id)
        number = self.debts.table.next_number()
        item = OutboxItem(id=number, kind=kind, partner_id=partner_id, subject=subject, attempts=0, created_at=now)
        await self.debts.add(number, Debt(item=item, not_before=now))
        return number

    async def claim(
        self, now: datetime, lease: timedelta, limit: int, only: Sequence[int] | None = None
    ) -> Sequence[OutboxItem]:
        claimed: list[OutboxItem] = []
        owed = [row.record for row in self.debts.rows() if row.record.owed]
        setup = [debt.item for debt in owed if debt.item.kind is not OutboxKind.SEND_EVENT]
        for debt in sorted(owed, key=lambda debt: (debt.not_before, debt.item.id)):
            asked_for = only is None or debt.item.id in only
            free = asked_for and debt.not_before <= now and not waits(debt.item, setup)
            if free and len(claimed) < limit and self.debts.take(debt.item.id):
                claimed.append(self._lease(debt, now + lease))
        return sorted(claimed, key=lambda item: item.id)

    def _lease(self, debt: Debt, until: datetime) -> OutboxItem:
        item = replace(debt.item, attempts=debt.item.attempts + 1)
        self.debts.put(item.id, replace(debt, item=item, not_before=until))
        return item

    async def done(self, item_ids: Sequence[int], now: datetime) -> None:
        for item_id in item_ids:
            await self._change(item_id, done_at=now, last_error=None)

    async def postpone(self, item_id: int, until: datetime, reason: str) -> None:
        await self._change(item_id, not_before=until, last_error=reason)

    async def bury(self, item_id: int, now: datetime, reason: str) -> None:
        await self._change(item_id, buried_at=now, last_error=reason)

    async def _change(self, item_id: int, **changes: object) -> None:
        debt = await self.debts.lock(item_id)
        if debt and debt.done_at is None:
            self.debts.put(item_id, replace(debt, **changes))

    async def backlog(self) -> Mapping[str, int]:
        unfinished = [row.record for row in self.debts.rows() if row.record.done_at is None]
        buried = sum(debt.buried_at is not None for debt in unfinished)
        return {"owed": len(unfinished) - buried, "buried": buried}


def waits(item: OutboxItem, setup: Sequence[OutboxItem]) -> bool:
    """An event waits for its partner's earlier setup, an endpoint for every earlier event type."""
    earlier = [other for other in setup if other.id < item.id]
    if item.kind is OutboxKind.SEND_EVENT:
        return any(other.partner_id == item.partner_id for other in earlier if other.partner_id)
    return item.kind is OutboxKind.OPEN_ENDPOINT and any(other.kind is OutboxKind.PUT_EVENT_TYPE for other in earlier)
