"""The outbox in memory."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from shared_code.adapters.memory_rows import View
from shared_code.model import OutboxItem, OutboxKind, Partner

MESSAGES = frozenset({OutboxKind.SEND_EVENT, OutboxKind.RESEND_DELIVERY})
CHANGES = frozenset({OutboxKind.PUT_ENDPOINT, OutboxKind.CLOSE_ENDPOINT})


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
        item = OutboxItem(id=0, kind=kind, partner_id=partner_id, subject=subject, attempts=0, created_at=now)
        return self.debts.append(lambda number: Debt(item=replace(item, id=number), not_before=now))

    async def add_all(self, kind: OutboxKind, partner_ids: Sequence[UUID], subject: str, now: datetime) -> None:
        for partner_id in partner_ids:
            await self.add(kind, partner_id, subject, now)

    async def add_each(
        self, kind: OutboxKind, partner_ids: Sequence[UUID], subjects: Sequence[str], now: datetime
    ) -> None:
        for partner_id, subject in zip(partner_ids, subjects, strict=True):
            await self.add(kind, partner_id, subject, now)

    async def owes(self, kind: OutboxKind, partner_id: UUID, subject: str) -> bool:
        wanted = (kind, partner_id, subject)
        owed = (row.record.item for row in self.debts.rows() if row.record.owed)
        return any((item.kind, item.partner_id, item.subject) == wanted for item in owed)

    async def claim(
        self, now: datetime, lease: timedelta, limit: int, only: Sequence[int] | None = None
    ) -> Sequence[OutboxItem]:
        claimed: list[OutboxItem] = []
        owed = [row.record for row in self.debts.rows() if row.record.owed]
        order = Order.of([debt.item for debt in owed])
        for debt in sorted(owed, key=lambda debt: (debt.not_before, debt.item.id)):
            asked_for = only is None or debt.item.id in only
            free = asked_for and debt.not_before <= now and order.lets(debt.item)
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

    async def settle(self, kind: OutboxKind, subjects: Sequence[str], now: datetime) -> None:
        owed = [row.record.item for row in self.debts.rows() if row.record.owed]
        await self.done([item.id for item in owed if item.kind is kind and item.subject in subjects], now)

    async def postpone(self, item_id: int, until: datetime, reason: str) -> None:
        await self._change(item_id, not_before=until, last_error=reason)

    async def bury(self, item_id: int, now: datetime, reason: str) -> None:
        await self._change(item_id, buried_at=now, last_error=reason)

    async def revive(self, item_id: int, now: datetime) -> None:
        debt = self.debts.get(item_id)
        if debt and debt.buried_at:
            await self._change(item_id, buried_at=None, not_before=now, item=replace(debt.item, attempts=0))

    async def _change(self, item_id: int, **changes: object) -> None:
        debt = await self.debts.lock(item_id)
        if debt and debt.done_at is None:
            self.debts.put(item_id, replace(debt, **changes))

    async def backlog(self) -> Mapping[str, int]:
        unfinished = [row.record for row in self.debts.rows() if row.record.done_at is None]
        buried = sum(debt.buried_at is not None for debt in unfinished)
        return {"owed": len(unfinished) - buried, "buried": buried}


@dataclass(frozen=True, slots=True)
class Order:
    """The number of the first item owed: of each partner's setup, of the event types, and of each subject."""

    setup: Mapping[UUID, int]
    event_types: int
    subjects: Mapping[tuple[UUID, str], int]

    @classmethod
    def of(cls, owed: Sequence[OutboxItem]) -> Self:
        setup: dict[UUID, int] = {}
        subjects: dict[tuple[UUID, str], int] = {}
        for item in sorted(owed, key=lambda item: item.id):
            if item.partner_id:
                subjects.setdefault((item.partner_id, item.subject), item.id)
                if item.kind not in MESSAGES:
                    setup.setdefault(item.partner_id, item.id)
        types = (item.id for item in owed if item.kind is OutboxKind.PUT_EVENT_TYPE)
        return cls(setup, min(types, default=sys.maxsize), subjects)

    def lets(self, item: OutboxItem) -> bool:
        """Whether nothing that it must wait for is owed before it."""
        if item.kind is OutboxKind.OPEN_ENDPOINT:
            return self.event_types > item.id
        if item.partner_id is None:
            return True
        if item.kind in (OutboxKind.SEND_EVENT, OutboxKind.CLOSE_PARTNER):
            return self.setup.get(item.partner_id, item.id) >= item.id
        return item.kind not in CHANGES or self.subjects[item.partner_id, item.subject] >= item.id
