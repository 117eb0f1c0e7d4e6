"""The REST API under /api: orders and inventory, with a key, conditional reads and four ways to page."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.partner import auth, conditional
from devstack.partner.catalog import Collection
from devstack.partner.faults import Fault, Faults, dripping, garbled, refusal
from devstack.partner.paging import page_of
from devstack.partner.records import Record
from devstack.serving import RequestLog, body_within

log = logging.getLogger(__name__)
MAX_BODY = 1024 * 1024
OURS = ("id", "created_at", "updated_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that showed the key."""

    request: Request
    collection: Collection
    number: int
    body: bytes
    fault: Fault
    now: datetime

    def record(self) -> Record:
        found = self.collection.get(self.number)
        if found is None:
            raise HTTPException(404, f"There is no such record in {self.collection.resource.name}.")
        return found

    def fields(self) -> Record:
        """The body without what only the server sets."""
        try:
            given = orjson.loads(self.body)
        except orjson.JSONDecodeError as problem:
            raise HTTPException(400, "The body is not valid JSON.") from problem
        if not isinstance(given, dict):
            raise HTTPException(422, "The body is not an object.")
        return {name: value for name, value in given.items() if name not in OURS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    api_key: str
    catalog: dict[str, Collection]
    faults: Faults
    log: RequestLog
    opens: Callable[[str], bool]
    """Whether an access token is good."""

    async def answer(self, request: Request) -> Response:
        try:
            body = await body_within(request, MAX_BODY)
        except ClientDisconnect:
            return Response(status_code=400)
        entry = self.log.note(request, body or b"")
        fault = self.faults.take()
        await asyncio.sleep(fault.latency_ms / 1000)
        response = await refusal(fault) or self._handled(request, body, fault)
        entry["status"] = response.status_code
        return dripping(fault, response)

    def _handled(self, request: Request, body: bytes | None, fault: Fault) -> Response:
        try:
            return self._handle(request, body, fault)
        except HTTPException as refused:
            return JSONResponse({"error": refused.detail}, refused.status_code, refused.headers)
        except Exception as crash:
            log.error("%s %s failed: %r", request.method, request.scope["path"], crash)
            return JSONResponse({"error": "Unexpected error."}, 500)

    def _handle(self, request: Request, body: bytes | None, fault: Fault) -> Response:
        auth.check(request, self.api_key, self.opens)
        name, _, number = request.path_params["rest"].partition("/")
        if name not in self.catalog or (number and not _is_id(number)):
            raise HTTPException(404, "There is nothing here.")
        endpoints = ITEM if number else LIST
        if request.method not in endpoints:
            raise HTTPException(405, "Method not allowed.", {"Allow": ", ".join(endpoints)})
        if body is None:
            raise HTTPException(413, f"The body is longer than {MAX_BODY} bytes.")
        call = Call(
            request=request,
            collection=self.catalog[name],
            number=int(number or 0),
            body=body,
            fault=fault,
            now=datetime.now(UTC),
        )
        return endpoints[request.method](call)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 15


def list_records(call: Call) -> Response:
    page = page_of(call.collection, call.request.url, call.request.query_params)
    found = ((number, call.collection.get(number)) for number in page.ids)
    records = [garbled(each) if each and number in call.fault.poison else each for number, each in found]
    body = orjson.dumps({"data": records, **page.about})
    return conditional.answer(call.request, body, call.collection.modified_ms, page.headers)


def get_record(call: Call) -> Response:
    record = call.record()
    body = orjson.dumps(garbled(record) if call.number in call.fault.poison else record)
    return conditional.answer(call.request, body, call.collection.changed_ms(call.number), {})


def add_record(call: Call) -> Response:
    number = call.collection.add(_with_key(call, call.fields()), call.now)
    location = f"/api/{call.collection.resource.name}/{number}"
    return _shown(call, number, 201, {"Location": location})


def put_record(call: Call) -> Response:
    """Everything the client owns is replaced."""
    created = call.record()["created_at"]
    fields = _with_key(call, call.fields())
    call.collection.put(call.number, fields | {"created_at": created}, call.now)
    return _shown(call, call.number, 200, {})


def patch_record(call: Call) -> Response:
    fields = _with_key(call, call.record() | call.fields())
    call.collection.put(call.number, fields, call.now)
    return _shown(call, call.number, 200, {})


def delete_record(call: Call) -> Response:
    call.record()
    call.collection.remove(call.number, call.now)
    return Response(status_code=204)


def _with_key(call: Call, fields: Record) -> Record:
    key = call.collection.resource.key
    value: Any = fields.get(key)
    if not isinstance(value, str) or not value.strip():
        raise HTTPException(422, f"{key} must be a text that is not empty.")
    return fields


def _shown(call: Call, number: int, status: int, headers: dict[str, str]) -> Response:
    body = orjson.dumps(call.collection.get(number))
    shown = conditional.answer(call.request, body, call.collection.changed_ms(number), headers)
    shown.status_code = status
    return shown


Endpoints = dict[str, Callable[[Call], Response]]
LIST: Endpoints = {"GET": list_records, "HEAD": list_records, "POST": add_record}
ITEM: Endpoints = {
    "GET": get_record,
    "HEAD": get_record,
    "PUT": put_record,
    "PATCH": patch_record,
    "DELETE": delete_record,
}


def routes(api: Api) -> list[Route]:
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return [Route("/api/{rest:path}", api.answer, methods=methods)]
