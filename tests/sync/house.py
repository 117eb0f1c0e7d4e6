"""A gateway without its doors, over real servers, with a clock that can be set forward."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from shared_code.gateway import Gateway
from shared_code.model import AuthMethod, Job, JobType, Page, Partner, PartnerType, Quarantined, Reading, Source
from shared_code.services.audit import system_caller
from shared_code.services.partners import NewPartner
from shared_code.services.sync_jobs import NewJob
from tests.shop import Shop

OPERATOR = system_caller("test")
FULL, CHANGES = JobType.FULL_SYNC, JobType.INCREMENTAL_SYNC


@dataclass(slots=True)
class Clock:
    """The real time, and what it was set forward by."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@dataclass(frozen=True, slots=True)
class House:
    gateway: Gateway
    clock: Clock
    shop: Shop
    xano: httpx.Client = field(repr=False)

    async def connected(self, **changes: Any) -> Partner:
        wanted = NewPartner(
            name="Corner Shop",
            type=PartnerType.VENDOR,
            auth_method=AuthMethod.API_KEY,
            api_endpoint=self.shop.endpoint,
            credentials=self.shop.credentials,
        )
        return (await self.gateway.partners.connect(OPERATOR, replace(wanted, **changes))).partner

    async def configured(self, partner: Partner, every: int | None = None, **reading: Any) -> Source:
        wanted = Reading(**{"path": "orders", **reading})
        return await self.gateway.sync_sources.put(OPERATOR, partner.partner_id, "orders", wanted, every)

    async def source(self, partner: Partner) -> Source:
        return await self.gateway.sync_sources.get(partner.partner_id, "orders")

    async def started(self, partner: Partner, job_type: JobType, resource: str | None = "orders") -> Job:
        wanted = NewJob(job_type=job_type, resource=resource, partner_id=partner.partner_id)
        return await self.gateway.sync_jobs.start(OPERATOR, wanted)

    async def job(self, job_id: UUID) -> Job:
        return await self.gateway.sync_jobs.get(OPERATOR, job_id)

    async def worked(self, job: Job) -> Job:
        """As it is after one run of the runner."""
        await self.gateway.sync_runner.run()
        return await self.job(job.job_id)

    async def synced(self, partner: Partner, job_type: JobType) -> Job:
        return await self.worked(await self.started(partner, job_type))

    async def quarantine(self, job: Job) -> list[Quarantined]:
        return list((await self.gateway.sync_jobs.quarantined(OPERATOR, job.job_id, Page(limit=200))).items)

    def rows(self, partner: Partner) -> dict[str, dict[str, Any]]:
        """What the backend has of this partner, by the partner's own key."""
        answer = self.xano.get("/orders", headers={"X-Partner-Id": str(partner.partner_id)}).raise_for_status()
        return {row["external_id"]: row for row in answer.json()}
