"""Business resources: a partner's reads and writes, passed to the backend with limits on harm (design.md flow 1)."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote

from shared_code import errors, telemetry
from shared_code.model import carrier
from shared_code.ports import Answers, Backend, Circuit, Forward, Returned
from shared_code.services.backend_answers import (
    Kept,
    keepable,
    matches,
    shown_headers,
    tagged,
    understood,
)
from shared_code.services.idempotency import KEY

CIRCUIT = "backend"

type CacheUse = Literal["HIT", "MISS", "BYPASS", "STALE"]


@carrier
class ResourceCall:
    """One partner's request to one resource. `tenant` and `partner` come from the credential alone."""

    method: str
    tenant: str
    partner: str
    resource: str
    item: str = ""
    query: str = ""
    body: bytes = field(default=b"", repr=False)
    request_id: str
    traceparent: str | None = None
    idempotency_key: str | None = None
    if_none_match: str | None = None
    fresh: bool = False
    """The caller wants no kept answer."""
    generation: str = ""
    kept: bytes | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """Relative to the backend's group; whatever the item is, it stays one segment."""
        if self.item in (".", ".."):
            raise errors.NotFound()
        return f"{self.resource}/{quote(self.item, safe='')}" if self.item else self.resource

    @property
    def name(self) -> str:
        return answer_name(self.item, self.query)


@carrier
class ResourceAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    cache: CacheUse


@dataclass(frozen=True, slots=True)
class ResourceService:
    backend: Backend
    answers: Answers
    circuit: Circuit
    allowed: frozenset[str]
    cache_seconds: int
    _reading: dict[tuple[str, str, str], asyncio.Future[Returned]] = field(
        default_factory=dict[tuple[str, str, str], asyncio.Future[Returned]]
    )

    def check(self, resource: str) -> None:
        if resource not in self.allowed:
            raise errors.NotFound(f"There is no resource `{resource}` here.")

    async def read(self, call: ResourceCall) -> ResourceAnswer:
        kept = Kept.from_bytes(call.kept) if call.kept else None
        if kept and not call.fresh and kept.fresh(time.time()):
            telemetry.CACHE_HITS.add()
            return conditional(call, from_kept(kept, "HIT"))
        telemetry.CACHE_MISSES.add()
        try:
            returned = tagged(understood(await self._read_once(call)))
        except (errors.BackendUnavailable, errors.BackendFailed):
            if kept:
                return conditional(call, from_kept(kept, "STALE"))
            raise
        return conditional(call, await self._keep(call, returned))

    async def write(self, call: ResourceCall) -> ResourceAnswer:
        """Kept reads are dropped before and after: a read in between cannot bring the old answer back."""
        if call.idempotency_key and not KEY.fullmatch(call.idempotency_key):
            raise errors.BadRequest("This Idempotency-Key cannot be passed on.")
        await self.answers.drop(call.tenant, call.resource)
        try:
            returned = understood(await self._forward(call))
        finally:
            await self.answers.drop(call.tenant, call.resource)
        return ResourceAnswer(
            status=returned.status, headers=shown_headers(returned), body=returned.body, cache="BYPASS"
        )

    async def _keep(self, call: ResourceCall, returned: Returned) -> ResourceAnswer:
        now = time.time()
        keeping = keepable(returned, now, self.cache_seconds) if call.generation else None
        if keeping:
            seconds = keeping.stale_until - keeping.made_at
            await self.answers.keep(call.tenant, call.resource, call.generation, call.name, keeping.to_bytes(), seconds)
        use: CacheUse = "MISS" if keeping and not call.fresh else "BYPASS"
        return ResourceAnswer(status=returned.status, headers=shown_headers(returned), body=returned.body, cache=use)

    async def _read_once(self, call: ResourceCall) -> Returned:
        """Callers who miss the same answer at the same time in this process share one call to the backend."""
        name = (call.tenant, f"{call.resource}:{call.generation}", call.name)
        running = self._reading.get(name)
        if running is not None and not call.fresh:
            return await asyncio.shield(running)
        task = asyncio.ensure_future(self._forward(call))
        self._reading[name] = task
        try:
            return await task
        finally:
            if self._reading.get(name) is task:
                del self._reading[name]

    async def _forward(self, call: ResourceCall) -> Returned:
        if not await self.circuit.closed(CIRCUIT):
            raise errors.BackendUnavailable(headers={"Retry-After": "5"})
        try:
            returned = await self.backend.forward(to_backend(call))
        except errors.BackendUnavailable:
            await self.circuit.report(CIRCUIT, ok=False)
            raise
        await self.circuit.report(CIRCUIT, ok=True)
        return returned


def to_backend(call: ResourceCall) -> Forward:
    headers = {"X-Partner-Id": call.partner, "X-Request-Id": call.request_id}
    if call.traceparent:
        headers["traceparent"] = call.traceparent
    if call.body:
        headers["Content-Type"] = "application/json"
    if call.idempotency_key and call.method != "GET":
        headers["Idempotency-Key"] = call.idempotency_key
    return Forward(method=call.method, path=call.path, query=call.query, headers=headers, body=call.body)


def from_kept(kept: Kept, use: CacheUse) -> ResourceAnswer:
    age = {"age": str(max(0, int(time.time()) - kept.made_at))}
    return ResourceAnswer(status=kept.status, headers={**kept.headers, **age}, body=kept.body, cache=use)


def conditional(call: ResourceCall, answer: ResourceAnswer) -> ResourceAnswer:
    if answer.status == 200 and matches(call.if_none_match, answer.headers.get("etag")):
        return replace(answer, status=304, body=b"")
    return answer


def answer_name(item: str, query: str) -> str:
    """The same query in the same order has the same name; no user text stands in a key of Redis.

    An item may hold a `?` of its own, but no query holds a line break.
    """
    return hashlib.sha256(f"{item}\n{query}".encode()).hexdigest()[:32]
