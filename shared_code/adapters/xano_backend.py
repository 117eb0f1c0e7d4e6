"""The business backend on Xano, through its API group (facts/xano.md 2, 7.3).

Reads are tried again on failures that can pass; writes never. Whatever status Xano answers is returned;
what it means is the resource service's to say. A body that is no JSON is a proxy's page, not an answer.
"""

import asyncio
import random
from dataclasses import dataclass, field
from functools import cached_property

import httpx

from shared_code import errors
from shared_code.ports import Forward, Returned

TIMEOUT = httpx.Timeout(5.0, connect=2.0)
OVERALL_SECONDS = 8.0
TRIES_OF_A_READ = 3
POOL = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4)
HICCUPS = (b"Connection lost", b"SQL Error")


@dataclass(eq=False)
class XanoBackend:
    url: str
    key: str = field(repr=False)
    """Another one may be put in its place at any time."""
    data_source: str | None = None

    @cached_property
    def client(self) -> httpx.AsyncClient:
        headers = {"User-Agent": "PinkSync/1"}
        if self.data_source:
            headers["X-Data-Source"] = self.data_source
        return httpx.AsyncClient(timeout=TIMEOUT, limits=POOL, headers=headers, trust_env=False)

    async def forward(self, request: Forward) -> Returned:
        tries = TRIES_OF_A_READ if request.method == "GET" else 1
        try:
            async with asyncio.timeout(OVERALL_SECONDS):
                return await self._tried(request, tries)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise errors.BackendTimeout(headers={"Retry-After": "5"}) from error
        except httpx.InvalidURL as error:
            raise errors.BadRequest("The path or query cannot be passed on.") from error
        except httpx.HTTPError as error:
            raise errors.BackendUnavailable(headers={"Retry-After": "5"}) from error

    async def ping(self) -> None:
        """Whatever it answers below 500, it is there."""
        try:
            response = await self.client.get(self.url, headers={"Authorization": f"Bearer {self.key}"})
        except httpx.HTTPError as error:
            raise errors.BackendUnavailable() from error
        if response.status_code >= 500:
            raise errors.BackendUnavailable()

    async def close(self) -> None:
        if "client" in self.__dict__:
            await self.client.aclose()

    async def _tried(self, request: Forward, tries: int) -> Returned:
        for attempt in range(1, tries):
            try:
                returned = await self._once(request)
            except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
                returned = None
            if returned and not passing(returned):
                return returned
            await asyncio.sleep(random.uniform(0.1, 0.8) * attempt)  # noqa: S311 - jitter, not a secret
        return usable(await self._once(request))

    async def _once(self, request: Forward) -> Returned:
        query = f"?{request.query}" if request.query else ""
        response = await self.client.request(
            request.method,
            f"{self.url}/{request.path}{query}",
            headers={**request.headers, "Authorization": f"Bearer {self.key}"},
            content=request.body or None,
        )
        return Returned(status=response.status_code, headers=dict(response.headers), body=response.content)


def passing(returned: Returned) -> bool:
    """A failure that may be gone in a moment: not one that Xano itself reports about this request."""
    fatal = (
        b"ERROR_FATAL" in returned.body
        and b"Connection lost" not in returned.body
        and b"SQL Error" not in returned.body
    )
    return returned.status in (502, 503, 504) or (returned.status == 500 and not fatal)


def usable(returned: Returned) -> Returned:
    media_type = returned.headers.get("content-type", "")
    if returned.status >= 500 and "json" not in media_type:
        raise errors.BackendUnavailable(headers={"Retry-After": "5"})
    return returned
