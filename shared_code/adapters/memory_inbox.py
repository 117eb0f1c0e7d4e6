"""The inbox and the secrets that what is in it is signed with, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code.adapters.memory_rows import View
from shared_code.model import InboundSecret, InboxItem, Origin, Partner, RecordName, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An item, and what became of it. `not_before` is also the end of a lease."""

    item: InboxItem
    not_before: datetime
    last_error: str | None = None
    done_at: datetime | None = None
    buried_at: datetime | None = None

    @property
    def owed(self) -> bool:
        return self.done_at is None and self.buried_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How new a business record is, and until when one event has it to itself."""

    happened_at: datetime
    held_until: datetime


@dataclass(frozen=True, slots=True)
class MemoryInbox:
    received: View[int, Received]
    messages: View[tuple[UUID, str], bool]
    """Which messages of each partner are here."""
    partners: View[UUID, Partner]
    records: View[RecordName, Written]

    async def add(self, partner_id: UUID, message_id: str, body: bytes, origin: Origin, now: datetime) -> int | None:
        self.partners.require(partner_id)
        if not await self.messages.insert((partner_id, message_id), True):
            return None
        item = InboxItem(
            id=0,
            partner_id=partner_id,
            message_id=message_id,
            body=body,
            request_id=origin.request_id,
            attempts=0,
            received_at=now,
        )
        return self.received.append(lambda number: Received(item=replace(item, id=number), not_before=now))

    async def claim(self, now: datetime, lease: timedelta, limit: int) -> Sequence[InboxItem]:
        claimed: list[InboxItem] = []
        owed = [row.record for row in self.received.rows() if row.record.owed and row.record.not_before <= now]
        for received in sorted(owed, key=lambda received: (received.not_before, received.item.id)):
            if len(claimed) < limit and self.received.take(received.item.id):
                item = replace(received.item, attempts=received.item.attempts + 1)
                self.received.put(item.id, replace(received, item=item, not_before=now + lease))
                claimed.append(item)
        return sorted(claimed, key=lambda item: item.id)

    async def get(self, item_id: int) -> InboxItem | None:
        received = self.received.get(item_id)
        return received.item if received else None

    async def done(self, item_id: int, now: datetime) -> None:
        await self._change(item_id, done_at=now, last_error=None)

    async def postpone(self, item_id: int, until: datetime, reason: str) -> None:
        await self._change(item_id, not_before=until, last_error=reason)

    async def bury(self, item_id: int, now: datetime, reason: str) -> None:
        await self._change(item_id, buried_at=now, last_error=reason)

    async def revive(self, item_id: int, now: datetime) -> None:
        received = await self.received.lock(item_id)
        if received and received.buried_at:
            await self._change(item_id, buried_at=None, not_before=now, item=replace(received.item, attempts=0))

    async def _change(self, item_id: int, **changes: object) -> None:
        received = await self.received.lock(item_id)
        if received and received.done_at is None:
            self.received.put(item_id, replace(received, **changes))

    async def take_turn(self, record: RecordName, happened_at: datetime, now: datetime, lease: timedelta) -> Turn:
        self.partners.require(record[0])
        turn = Written(happened_at=happened_at, held_until=now + lease)
        if await self.records.insert(record, turn):
            return Turn.TAKEN
        known = await self.records.lock(record)
        if known and known.happened_at > happened_at:
            return Turn.STALE
        if known and known.held_until > now:
            return Turn.HELD
        self.records.put(record, turn)
        return Turn.TAKEN

    async def end_turn(self, record: RecordName, now: datetime) -> None:
        known = await self.records.lock(record)
        if known:
            self.records.put(record, replace(known, held_until=now))


@dataclass(frozen=True, slots=True)
class MemoryInboundSecrets:
    secrets: View[int, InboundSecret]
    partners: View[UUID, Partner]

    async def add(self, secret: InboundSecret) -> None:
        self.partners.require(secret.partner_id)
        self.secrets.append(lambda _: secret)

    async def live(self, partner_id: UUID, now: datetime) -> Sequence[InboundSecret]:
        newest_first = sorted(self.secrets.rows(), key=lambda row: row.number, reverse=True)
        return [row.record for row in newest_first if lives(row.record, partner_id, now)]

    async def expire(self, partner_id: UUID, at: datetime, now: datetime) -> None:
        living = sorted(row.number for row in self.secrets.rows() if lives(row.record, partner_id, now))
        for number in living:
            secret = await self.secrets.lock(number)
            end = at if number == living[-1] else now
            if secret and lives(secret, partner_id, end):
                self.secrets.put(number, replace(secret, expires_at=end))


def lives(secret: InboundSecret, partner_id: UUID, at: datetime) -> bool:
    return secret.partner_id == partner_id and (secret.expires_at is None or secret.expires_at > at)
