"""Webhook endpoints in memory."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from shared_code import errors
from shared_code.adapters.memory_rows import View, listing
from shared_code.model import Endpoint, Listing, Page, Partner


@dataclass(frozen=True, slots=True)
class MemoryEndpoints:
    endpoints: View[str, Endpoint]
    svix_ids: View[str, str]
    """Whose each of the webhook service's own ids is."""
    partners: View[UUID, Partner]

    async def add(self, endpoint: Endpoint) -> None:
        self.partners.require(endpoint.partner_id)
        await self.endpoints.add(endpoint.endpoint_id, endpoint)
        await self._claim_svix_id(endpoint)

    async def get(self, endpoint_id: str, *, lock: bool = False) -> Endpoint | None:
        return await self.endpoints.lock(endpoint_id) if lock else self.endpoints.get(endpoint_id)

    async def save(self, endpoint: Endpoint) -> None:
        known = await self.endpoints.lock(endpoint.endpoint_id)
        if known:
            await self._claim_svix_id(endpoint)
            kept = replace(endpoint, partner_id=known.partner_id, created_at=known.created_at)
            self.endpoints.put(endpoint.endpoint_id, kept)

    async def list(self, page: Page, *, partner_id: UUID) -> Listing[Endpoint]:
        return listing((row for row in self.endpoints.rows() if is_open(partner_id, row.record)), page)

    async def find(self, partner_id: UUID, endpoint_id: str, svix_endpoint_id: str) -> str | None:
        for row in self.endpoints.rows():
            endpoint = row.record
            by_name = endpoint.endpoint_id == endpoint_id or endpoint.svix_endpoint_id == svix_endpoint_id
            if endpoint.partner_id == partner_id and by_name:
                return endpoint.endpoint_id
        return None

    async def close_all(self, partner_id: UUID, now: datetime) -> int:
        still_open = [row.record.endpoint_id for row in self.endpoints.rows() if is_open(partner_id, row.record)]
        locked = [await self.endpoints.lock(endpoint_id) for endpoint_id in still_open]
        closed = [endpoint for endpoint in locked if endpoint and is_open(partner_id, endpoint)]
        for endpoint in closed:
            gone = replace(endpoint, enabled=False, secret_encrypted=None, deleted_at=now, updated_at=now)
            self.endpoints.put(endpoint.endpoint_id, gone)
        return len(closed)

    async def _claim_svix_id(self, endpoint: Endpoint) -> None:
        if endpoint.svix_endpoint_id is None:
            return
        await self.svix_ids.insert(endpoint.svix_endpoint_id, endpoint.endpoint_id)
        if self.svix_ids.get(endpoint.svix_endpoint_id) != endpoint.endpoint_id:
            raise self.svix_ids.session.refuse(errors.Conflict("That is already there."))


def is_open(partner_id: UUID, endpoint: Endpoint) -> bool:
    return endpoint.partner_id == partner_id and endpoint.deleted_at is None
