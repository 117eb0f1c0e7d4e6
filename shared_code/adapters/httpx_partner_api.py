"""Partners' own APIs over httpx, behind the egress guard."""

from dataclasses import dataclass
from functools import cached_property

import httpx

from shared_code import errors
from shared_code.adapters.httpx_egress import fetch, guarded_client
from shared_code.ports import Forward, Returned


@dataclass(eq=False)
class HttpxPartnerApi:
    """`allow_loopback` is set by the devstack alone."""

    allow_loopback: bool = False

    @cached_property
    def client(self) -> httpx.AsyncClient:
        return guarded_client(loopback=self.allow_loopback)

    async def call(self, url: str, request: Forward) -> Returned:
        """`url` is the partner's base. The request's path and query are appended to its own; its host never changes."""
        base = httpx.URL(url)
        try:
            target = base.copy_with(raw_path=raw_path(base, request))
        except (httpx.InvalidURL, UnicodeError) as error:
            raise errors.BadRequest("The path or query cannot be passed on.") from error
        if (target.scheme, target.host, target.port) != (base.scheme, base.host, base.port):
            raise errors.EgressDenied()
        headers = {**request.headers, "Accept-Encoding": "identity"}
        prepared = self.client.build_request(request.method, target, headers=headers, content=request.body or None)
        response, body = await fetch(self.client, prepared)
        return Returned(status=response.status_code, headers=dict(response.headers), body=body)

    async def close(self) -> None:
        if "client" in self.__dict__:
            await self.client.aclose()


def raw_path(base: httpx.URL, request: Forward) -> bytes:
    path, _, own_query = base.raw_path.partition(b"?")
    path = path.rstrip(b"/")
    if request.path:
        path += b"/" + request.path.lstrip("/").encode("ascii")
    query = b"&".join(part for part in (own_query, request.query.encode("ascii")) if part)
    return (path or b"/") + (b"?" + query if query else b"")
