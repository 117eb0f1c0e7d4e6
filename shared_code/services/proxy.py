"""The way to a partner's own API: its credentials put in, ours taken out, its host pinned (contract §3)."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote
from uuid import UUID

from shared_code import errors
from shared_code.model import Caller, Endpoint, Page, Partner, PartnerStatus
from shared_code.ports import Circuit, Forward, PartnerApi, Returned, Store
from shared_code.services.credentials import Injection, PartnerCredentials, sendable
from shared_code.services.partner_calls import guarded

PASSED_ON = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "range",
    }
)
"""Request headers that reach the partner; everything else, our key first of all, stays here."""
NOT_PASSED_BACK = frozenset(
    {
        "alt-svc",
        "cache-control",
        "clear-site-data",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "idempotency-replayed",
        "keep-alive",
        "nel",
        "report-to",
        "reporting-endpoints",
        "server",
        "set-cookie",
        "strict-transport-security",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
        "x-cache",
        "x-request-id",
    }
)
NEVER_PASSED_BACK = ("access-control-", "proxy-", "ratelimit", "x-pinksync-", "x-ratelimit-")
"""Of the connection, of the partner's own relation to browsers, or the gateway's to say: none of it is the caller's."""
UNSAFE_SEGMENTS = frozenset({".", ".."})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyCall:
    partner_id: UUID
    method: str
    path: str
    """As it was sent, percent-encoded, without a leading slash."""
    query: str
    headers: Mapping[str, str]
    body: bytes
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    ok: bool
    latency_ms: int
    detail: str


@dataclass(frozen=True, slots=True)
class ProxyService:
    store: Store
    api: PartnerApi
    credentials: PartnerCredentials
    circuit: Circuit

    async def call(self, call: ProxyCall) -> Returned:
        """The partner's answer, whatever its status, without what is only for the connection itself."""
        partner = await self._partner(call.partner_id)

        async def send(injection: Injection) -> Returned:
            return await guarded(self.api, self.circuit, partner, request(call, injection))

        returned = await self.credentials.call(partner, send)
        if not 200 <= returned.status <= 599:
            raise errors.UpstreamFailed("The partner's API answered with a status that HTTP does not have.")
        return replace(returned, headers=passed_back(returned.headers))

    async def check(self, caller: Caller, partner_id: UUID) -> Sequence[Check]:
        """Reaches the partner's API with its credentials, and each of its webhook endpoints without any."""
        caller.reach(partner_id)
        async with self.store.reading() as reading:
            partner = await reading.partners.get(partner_id)
            if partner is None or partner.deleted_at:
                raise errors.NotFound()
            endpoints = await reading.endpoints.list(Page(limit=5), partner_id=partner_id)
        checks = [await timed("api", lambda: self._check_api(partner))]
        checks += [
            await timed(f"webhook {endpoint.endpoint_id}", lambda endpoint=endpoint: self._check_endpoint(endpoint))
            for endpoint in endpoints.items
        ]
        return checks

    async def _check_api(self, partner: Partner) -> str:
        if not partner.api_endpoint:
            raise errors.Conflict("The partner has no api_endpoint.")
        base = partner.api_endpoint

        async def send(injection: Injection) -> Returned:
            headers = dict(injection.headers)
            return await self.api.call(base, Forward(method="GET", path="", query=injection.query, headers=headers))

        try:
            returned = await self.credentials.call(partner, send)
        except errors.UpstreamRedirected:
            return "reachable, answers with a redirect"
        if returned.status in (401, 403):
            raise errors.UpstreamFailed(f"The partner's API refuses the stored credentials ({returned.status}).")
        if returned.status >= 500:
            raise errors.UpstreamFailed(f"The partner's API answers {returned.status}.")
        return f"answers {returned.status}"

    async def _check_endpoint(self, endpoint: Endpoint) -> str:
        """A HEAD request: it proves that somebody answers there, and delivers nothing."""
        returned = await self.api.call(endpoint.url, Forward(method="HEAD", path=""))
        return f"reachable, answers {returned.status} to HEAD"

    async def _partner(self, partner_id: UUID) -> Partner:
        async with self.store.reading() as reading:
            partner = await reading.partners.get(partner_id)
        if partner is None or partner.deleted_at:
            raise errors.NotFound()
        if partner.status not in (PartnerStatus.ACTIVE, PartnerStatus.PENDING):
            raise errors.Conflict(f"The partner is {partner.status.value}; its API is not called.")
        return partner


def request(call: ProxyCall, injection: Injection) -> Forward:
    return Forward(
        method=call.method,
        path=safe_path(call.path),
        query=join(call.query, injection.query),
        headers={
            **passed_on(call.headers),
            "X-Request-Id": call.request_id,
            "User-Agent": "PinkSync/1",
            **injection.headers,
        },
        body=call.body,
    )


async def timed(name: str, ask: Callable[[], Awaitable[str]]) -> Check:
    began = time.perf_counter()
    try:
        ok, detail = True, await ask()
    except errors.PinkSyncError as error:
        ok, detail = False, error.message
    return Check(name=name, ok=ok, latency_ms=round((time.perf_counter() - began) * 1000), detail=detail)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Refused rather than left out when it cannot be sent: without its If-Match a write is another write."""
    passed = {name: value for name, value in headers.items() if name in PASSED_ON}
    for name, value in passed.items():
        if not sendable(value):
            raise errors.BadRequest(f"The header {name} has a value that cannot be passed on.")
    return passed


def passed_back(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name not in NOT_PASSED_BACK and not name.startswith(NEVER_PASSED_BACK) and sendable(value)
    }


def safe_path(path: str) -> str:
    """As it was sent. A step upwards, however it is spelled, is refused; some servers read `..;x` as one, too."""
    plain = unquote(unquote(path)).replace("\\", "/")
    segments = {segment.partition(";")[0] for segment in plain.split("/")}
    if segments & UNSAFE_SEGMENTS or not path.isascii():
        raise errors.BadRequest("The path may not have `.` or `..` segments.")
    return quote(path, safe="/%!$&'()*+,;=:@-._~")


def join(query: str, more: str) -> str:
    return "&".join(part for part in (query, more) if part)
