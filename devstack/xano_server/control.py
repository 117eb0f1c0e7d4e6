"""`/_devstack`: health, the last requests, faults and events. No key: it is reachable from this machine only."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.serving import instruction
from devstack.xano_server.events import EventSettings
from devstack.xano_server.faults import Fault
from devstack.xano_server.group import Group
from devstack.xano_server.tables import TABLES


@dataclass(frozen=True, slots=True)
class Control:
    group: Group

    async def health(self, _request: Request) -> Response:
        return JSONResponse(
            {"ok": True, "engine": "standin", "group": f"/api:{self.group.canonical}", "tables": list(TABLES)}
        )

    async def requests(self, _request: Request) -> Response:
        return JSONResponse({"requests": list(self.group.log.entries)})

    async def forget(self, _request: Request) -> Response:
        self.group.log.entries.clear()
        return Response(status_code=204)

    async def set_faults(self, request: Request) -> Response:
        self.group.faults.set(await instruction(request, Fault))
        return JSONResponse(self.group.faults.current.model_dump())

    async def reset_faults(self, _request: Request) -> Response:
        self.group.faults.set(Fault())
        return Response(status_code=204)

    async def events_on(self, request: Request) -> Response:
        await self.group.events.switch_on(await instruction(request, EventSettings))
        return Response(status_code=204)

    async def events_off(self, _request: Request) -> Response:
        await self.group.events.switch_off()
        return Response(status_code=204)


def routes(group: Group) -> list[Route]:
    control = Control(group)
    return [
        Route("/_devstack/health", control.health),
        Route("/_devstack/requests", control.requests),
        Route("/_devstack/requests", control.forget, methods=["DELETE"]),
        Route("/_devstack/faults", control.set_faults, methods=["PUT"]),
        Route("/_devstack/faults", control.reset_faults, methods=["DELETE"]),
        Route("/_devstack/events", control.events_on, methods=["PUT"]),
        Route("/_devstack/events", control.events_off, methods=["DELETE"]),
    ]
