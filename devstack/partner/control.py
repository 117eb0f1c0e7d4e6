"""`/_devstack`: health, the last API requests, seeds, touches and faults. No key: only this machine reaches it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.partner.api import Api
from devstack.partner.faults import Fault
from devstack.serving import instruction, rfc3339


class Seed(BaseModel):
    """How many records to start over with; a resource that is not named stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    orders: int | None = Field(default=None, ge=0, le=10_000_000)
    inventory: int | None = Field(default=None, ge=0, le=10_000_000)


class Touch(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: Literal["orders", "inventory"]
    ids: list[int] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Control:
    api: Api

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"ok": True, "records": {name: each.count for name, each in self.api.catalog.items()}})

    async def seed(self, request: Request) -> Response:
        wanted = (await instruction(request, Seed)).model_dump(exclude_none=True)
        for name, records in wanted.items():
            self.api.catalog[name].seed(records)
        return JSONResponse({name: each.count for name, each in self.api.catalog.items()})

    async def touch(self, request: Request) -> Response:
        wanted = await instruction(request, Touch)
        collection, now = self.api.catalog[wanted.resource], datetime.now(UTC)
        unknown = [number for number in wanted.ids if collection.get(number) is None]
        if unknown:
            raise HTTPException(422, f"ids: {wanted.resource} has no record {unknown[0]}")
        collection.touch(wanted.ids, now)
        return JSONResponse({"touched": len(set(wanted.ids)), "updated_at": rfc3339(now)})

    async def requests(self, _request: Request) -> Response:
        return JSONResponse({"requests": list(self.api.log.entries)})

    async def forget(self, _request: Request) -> Response:
        self.api.log.entries.clear()
        return Response(status_code=204)

    async def set_faults(self, request: Request) -> Response:
        self.api.faults.set(await instruction(request, Fault))
        return JSONResponse(self.api.faults.current.model_dump())

    async def reset_faults(self, _request: Request) -> Response:
        self.api.faults.set(Fault())
        return Response(status_code=204)


def routes(api: Api) -> list[Route]:
    control = Control(api)
    return [
        Route("/_devstack/health", control.health),
        Route("/_devstack/seed", control.seed, methods=["PUT"]),
        Route("/_devstack/touch", control.touch, methods=["PUT"]),
        Route("/_devstack/requests", control.requests),
        Route("/_devstack/requests", control.forget, methods=["DELETE"]),
        Route("/_devstack/faults", control.set_faults, methods=["PUT"]),
        Route("/_devstack/faults", control.reset_faults, methods=["DELETE"]),
    ]
