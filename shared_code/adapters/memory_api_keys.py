"""API keys in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code.adapters.memory_rows import View, listing
from shared_code.model import ApiKey, Listing, Page, Partner


@dataclass(frozen=True, slots=True)
class MemoryApiKeys:
    keys: View[str, ApiKey]
    partners: View[UUID, Partner]

    async def add(self, key: ApiKey) -> None:
        if key.partner_id:
            self.partners.require(key.partner_id)
        await self.keys.add(key.key_id, key)

    async def get(self, key_id: str, *, lock: bool = False) -> ApiKey | None:
        return await self.keys.lock(key_id) if lock else self.keys.get(key_id)

    async def save(self, key: ApiKey) -> None:
        known = await self.keys.lock(key.key_id)
        if known:
            names = ("key_hash", "partner_id", "last_used_at", "created_at", "created_by")
            self.keys.put(key.key_id, replace(key, **{name: getattr(known, name) for name in names}))

    async def list(self, page: Page, *, partner_id: UUID | None, house: bool = False) -> Listing[ApiKey]:
        def asked_for(key: ApiKey) -> bool:
            return (partner_id is None or key.partner_id == partner_id) and not (house and key.partner_id)

        return listing((row for row in self.keys.rows() if asked_for(row.record)), page)

    async def revoke_all(self, partner_id: UUID, now: datetime) -> int:
        living = [row.record.key_id for row in self.keys.rows() if living_key_of(partner_id, row.record)]
        locked = [await self.keys.lock(key_id) for key_id in living]
        revoked = [key for key in locked if key and living_key_of(partner_id, key)]
        for key in revoked:
            self.keys.put(key.key_id, replace(key, revoked_at=now))
        return len(revoked)

    async def used(self, times: Mapping[str, datetime]) -> None:
        for key_id, at in times.items():
            key = await self.keys.lock(key_id)
            if key and (key.last_used_at is None or at - key.last_used_at >= timedelta(minutes=1)):
                self.keys.put(key_id, replace(key, last_used_at=at))


def living_key_of(partner_id: UUID, key: ApiKey) -> bool:
    return key.partner_id == partner_id and key.revoked_at is None
