"""One HTTP attempt at an endpoint (facts/svix.md §2, Request and Outcome).

aiohttp, because its resolver hook is public and it costs a fifteenth of what httpx does per request:
on the one core that also accepts messages, httpx would deliver some 500 a second.
"""

import asyncio
import socket
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from devstack.svix_server.addresses import BlockedAddress, GuardedResolver, blocked, literal

MAX_RESPONSE = 20_000

_INSTANT_RETRY_WITHIN = 1.0
_IDLE_CONNECTION_SECONDS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookResponse:
    """What came of it; `status_code` 0 and a reason in `body` if it was not an HTTP answer."""

    status_code: int
    body: str
    duration_ms: int
    timed_out: bool = False
    retry_after: str | None = None
    delivery_control: str | None = None

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status_code < 300


class WebhookClient:
    """Never follows a redirect, never reads more than it keeps, never outlives its timeout."""

    def __init__(self, *, timeout: float, allow_loopback: bool) -> None:
        self._timeout = timeout
        self._allow_loopback = allow_loopback
        self._session = _session(GuardedResolver(allow_loopback=allow_loopback))

    async def close(self) -> None:
        await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._answered(url, headers, body, started)
        except TimeoutError:
            return _failure("request timed out", started, timed_out=True)
        except BlockedAddress as error:
            return _failure(str(error), started)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failure(f"error making request: {error or type(error).__name__}", started)

    async def _answered(self, url: str, headers: Mapping[str, str], body: bytes, started: float) -> WebhookResponse:
        try:
            return await self._once(url, headers, body, started)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            # Often a pooled connection that the other side had closed; Svix too tries again at once.
            if time.perf_counter() - started > _INSTANT_RETRY_WITHIN:
                raise
            return await self._once(url, headers, body, started)

    async def _once(self, url: str, headers: Mapping[str, str], body: bytes, started: float) -> WebhookResponse:
        target = URL(url, encoded=True)
        self._refuse_blocked_literal(target)
        sent = _with_credentials(target, headers)
        plain = target.with_user(None).with_fragment(None)
        async with self._session.post(plain, data=body, headers=sent, allow_redirects=False) as answer:
            return WebhookResponse(
                status_code=answer.status,
                body=_text(await _bounded_body(answer)),
                duration_ms=_elapsed_ms(started),
                retry_after=answer.headers.get("retry-after"),
                delivery_control=answer.headers.get("webhook-delivery"),
            )

    def _refuse_blocked_literal(self, url: URL) -> None:
        address = literal(url.host or "")
        if address is not None and blocked(address, allow_loopback=self._allow_loopback):
            raise BlockedAddress


def _session(resolver: AbstractResolver) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        use_dns_cache=False,
        limit=0,
        family=socket.AF_UNSPEC,
        keepalive_timeout=_IDLE_CONNECTION_SECONDS,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept-Encoding", "User-Agent", "Content-Type"),
    )


def _with_credentials(url: URL, headers: Mapping[str, str]) -> Mapping[str, str]:
    """User and password of the URL go as Basic, unless a custom header authorizes already."""
    if url.user is None or any(name.lower() == "authorization" for name in headers):
        return headers
    credentials = f"{url.user}:{url.password or ''}".encode()
    return {**headers, "Authorization": f"Basic {b64encode(credentials).decode()}"}


async def _bounded_body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_RESPONSE:
            answer.close()
            break
    return bytes(body[:MAX_RESPONSE])


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return b64encode(body).decode()


def _failure(reason: str, started: float, *, timed_out: bool = False) -> WebhookResponse:
    return WebhookResponse(status_code=0, body=reason, duration_ms=_elapsed_ms(started), timed_out=timed_out)


def _elapsed_ms(started: float) -> int:
    return int((time.perf_counter() - started) * 1000)
