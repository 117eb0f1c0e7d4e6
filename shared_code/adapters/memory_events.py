"""Events and event types in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from shared_code.adapters.memory_rows import View
from shared_code.adapters.memory_rules import fresh
from shared_code.model import Event, EventType, Partner
from shared_code.ports import EventKey


@dataclass(frozen=True, slots=True)
class MemoryEvents:
    events: View[tuple[UUID, str], Event]
    partners: View[UUID, Partner]

    async def add(self, event: Event) -> bool:
        self.partners.require(event.partner_id)
        return await self.events.insert((event.partner_id, event.event_id), event)

    async def add_all(self, event: Event, partner_ids: Sequence[UUID]) -> Sequence[UUID]:
        return [each for each in partner_ids if await self.add(replace(event, partner_id=each))]

    async def to_send(self, keys: Sequence[EventKey]) -> Mapping[EventKey, Event]:
        found = {key: self.events.get(key) for key in keys}
        return {key: event for key, event in found.items() if event and event.payload is not None and self._here(key)}

    def _here(self, key: EventKey) -> bool:
        partner = self.partners.get(key[0])
        return partner is not None and partner.deleted_at is None

    async def clear(self, before: datetime, limit: int) -> int:
        full = [row.record for row in self.events.rows() if row.record.payload is not None]
        old = sorted((event for event in full if event.created_at < before), key=lambda event: event.created_at)
        for event in old[:limit]:
            await self.events.lock((event.partner_id, event.event_id))
            self.events.put((event.partner_id, event.event_id), replace(event, payload=None))
        return len(old[:limit])

    async def get(self, partner_id: UUID, event_id: str) -> Event | None:
        return self.events.get((partner_id, event_id))


@dataclass(frozen=True, slots=True)
class MemoryEventTypes:
    types: View[str, EventType]

    async def get(self, name: str) -> EventType | None:
        return self.types.get(name)

    async def put(self, event_type: EventType) -> None:
        if not await self.types.insert(event_type.name, event_type):
            known = self.types.get(event_type.name)
            assert known, "insert refuses only what is there"  # noqa: S101
            self.types.put(event_type.name, replace(event_type, created_at=known.created_at))

    async def named(self, names: Sequence[str]) -> Mapping[str, EventType]:
        found = {name: self.types.get(name) for name in names}
        return {name: event_type for name, event_type in found.items() if event_type}

    async def list(self) -> Sequence[EventType]:
        return sorted((fresh(row.record) for row in self.types.rows()), key=lambda event_type: event_type.name)
