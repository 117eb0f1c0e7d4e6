"""The API group at `/api:<canonical>[:<branch>]/...` (facts section 2.1): who may call what, and the faults."""

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from devstack.serving import NoAnswer, RequestLog, body_within
from devstack.xano_server.bulk import bulk_delete, bulk_upsert
from devstack.xano_server.endpoints import ENDPOINTS, Call
from devstack.xano_server.errors import XanoError, bad_request, fatal, unauthorized, unknown_route
from devstack.xano_server.events import Events
from devstack.xano_server.faults import Fault, Faults
from devstack.xano_server.store import Row, Store
from devstack.xano_server.tables import TABLES, Table

log = logging.getLogger(__name__)
PATH = re.compile(r"/api:(?P<canonical>[\w-]+)(:[\w-]+)?/(?P<table>\w+)(/(?P<rest>[^/]+))?/?")
MAX_BODY = 32 * 1024 * 1024
BULK = {"bulk_upsert": bulk_upsert, "bulk_delete": bulk_delete}


@dataclass(kw_only=True)
class Group:
    """The API group, and what tests may see and set of it."""

    store: Store
    api_key: str
    canonical: str = "business"
    faults: Faults = field(default_factory=Faults)
    log: RequestLog = field(init=False)
    events: Events = field(init=False)

    def __post_init__(self) -> None:
        self.log = RequestLog(secrets=(self.api_key,))
        self.events = Events(self.store)

    async def answer(self, request: Request) -> Response:
        """Every request that is not for `/_devstack`."""
        try:
            body = await body_within(request, MAX_BODY)
        except ClientDisconnect:
            return Response(status_code=400)
        entry = self.log.note(request, body or b"")
        response = await self._with_faults(request, body)
        entry["status"] = response.status_code
        return response

    async def _with_faults(self, request: Request, body: bytes | None) -> Response:
        fault = self.faults.take()
        await asyncio.sleep(fault.latency_ms / 1000)
        response = self.faults.refusal(fault) or self._handle(request, body)
        return _spoiled(fault, response)

    def _handle(self, request: Request, body: bytes | None) -> Response:
        try:
            endpoint, table, raw_id = self._route(request)
            return Response(endpoint(self._call(request, body, table, raw_id)), media_type="application/json")
        except XanoError as refusal:
            return refusal.response()
        except Exception as crash:
            log.error("%s %s failed: %r", request.method, request.scope["path"], crash)
            return fatal("Unexpected error.").response()

    def _route(self, request: Request) -> tuple[Callable[[Call], bytes], Table, str]:
        """A literal before `{param}` (facts section 2.9); whatever fits nothing is one and the same 404."""
        path = PATH.fullmatch(request.scope["path"])
        if path is None or path["canonical"] != self.canonical or path["table"] not in TABLES:
            raise unknown_route()
        rest = path["rest"] or ""
        endpoint = ENDPOINTS.get((request.method, "row" if rest else "table"))
        if request.method == "POST" and rest in BULK:
            endpoint = BULK[rest]
        if endpoint is None:
            raise unknown_route()
        return endpoint, TABLES[path["table"]], rest

    def _call(self, request: Request, body: bytes | None, table: Table, raw_id: str) -> Call:
        """Key, then partner, then body. In a real group the order of these three is up to its author."""
        self._check_key(request)
        partner_id = request.headers.get("x-partner-id", "").strip()
        if not partner_id:
            raise bad_request("The header X-Partner-Id is required.")
        source = request.headers.get("x-data-source") or request.query_params.get("x-data-source") or "live"
        return Call(
            store=self.store,
            events=self.events,
            shelf=self.store.shelf(table, source, partner_id),
            raw_id=raw_id,
            query=request.query_params,
            body=_json_object(body),
            now_ms=time.time_ns() // 1_000_000,
        )

    def _check_key(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized("Unauthorized - Authentication Required")
        if not hmac.compare_digest(given.strip().encode(), self.api_key.encode()):
            raise unauthorized()


def _json_object(body: bytes | None) -> Row:
    """Unknown keys are ignored, so a body that is no object has no inputs at all (a guess)."""
    if body is None:
        raise bad_request("The request body is too large.")
    try:
        given = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as problem:
        raise bad_request("The request body is not valid JSON.") from problem
    return given if isinstance(given, dict) else {}


def _spoiled(fault: Fault, response: Response) -> Response:
    """Faults that come after the work is done and committed."""
    if fault.drop_after_commit:
        return NoAnswer(status_code=response.status_code)
    if fault.truncated_json and response.status_code == 200:
        body = bytes(response.body)
        return Response(body[: len(body) // 2], media_type="application/json")
    return response
