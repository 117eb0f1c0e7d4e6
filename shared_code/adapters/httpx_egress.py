"""The egress guard: the only way to URLs that a partner can influence (facts/security.md 2.10).

The check sits where the connection is made, so the address that was vetted is the address that is connected
to; the host name stays in the URL, so TLS and connection reuse go by name. No redirects, no proxies from the
environment, no content encodings, bounds on size and on the whole time.
"""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx
from httpcore._backends.anyio import AnyIOBackend

from shared_code import errors
from shared_code.adapters.egress_addresses import all_allowed

CONNECT_SECONDS = 3.0
READ_SECONDS = 8.0
OVERALL_SECONDS = 10.0
MOST_BYTES = 8 * 1024 * 1024
IDLE_SECONDS = 4.0
"""Less than the five seconds after which many servers (Node, uvicorn) close an idle connection: a request that
crosses their closing is lost."""
CONNECTIONS = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS)


class Denied(httpcore.ConnectError):
    """The name resolves to an address that must not be called."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves once, vets every address, and connects to a vetted one."""

    def __init__(self, *, loopback: bool) -> None:
        self.loopback = loopback
        self.inner: httpcore.AsyncNetworkBackend = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await resolve(host, port, timeout)
        if not all_allowed(addresses, loopback=self.loopback):
            raise Denied("address not allowed")
        return await self.first_that_answers(addresses, port, timeout, socket_options)

    async def first_that_answers(
        self, addresses: list[str], port: int, timeout: float | None, options: Iterable[Any] | None
    ) -> httpcore.AsyncNetworkStream:
        for address in addresses[:-1]:
            try:
                return await self.inner.connect_tcp(address, port, timeout, None, options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self.inner.connect_tcp(addresses[-1], port, timeout, None, options)

    async def connect_unix_socket(self, path: str, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        raise Denied("sockets of this machine are not allowed")

    async def sleep(self, seconds: float) -> None:
        await self.inner.sleep(seconds)


async def resolve(host: str, port: int, timeout: float | None) -> list[str]:
    try:
        async with asyncio.timeout(timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("name lookup took too long") from error
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError("name not found") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def guarded_client(*, loopback: bool) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(limits=CONNECTIONS, trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(  # pyright: ignore[reportPrivateUsage] - httpx has no other seam here
        ssl_context=httpx.create_ssl_context(trust_env=False),
        max_connections=CONNECTIONS.max_connections,
        max_keepalive_connections=CONNECTIONS.max_keepalive_connections,
        keepalive_expiry=CONNECTIONS.keepalive_expiry,
        network_backend=GuardedBackend(loopback=loopback),
    )
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    return httpx.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)


async def fetch(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    most_bytes: int = MOST_BYTES,
    seconds: float = OVERALL_SECONDS,
) -> tuple[httpx.Response, bytes]:
    """The answer with its raw body, or one of errors.UpstreamFailed and errors.UpstreamTimeout."""
    try:
        async with asyncio.timeout(seconds):
            response = await client.send(request, stream=True)
            try:
                check(response)
                return response, await bounded(response, most_bytes)
            finally:
                await response.aclose()
    except (TimeoutError, httpx.TimeoutException) as error:
        raise errors.UpstreamTimeout() from error
    except httpx.ConnectError as error:
        raise (errors.EgressDenied() if denied(error) else errors.UpstreamUnreachable()) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise errors.UpstreamUnreachable() from error


def check(response: httpx.Response) -> None:
    if 300 <= response.status_code < 400 and response.status_code != 304:
        raise errors.UpstreamRedirected()
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise errors.UpstreamTooLarge("The partner's API answered in an encoding that was not asked for.")


async def bounded(response: httpx.Response, most: int) -> bytes:
    """Raw bytes only: what is not decoded cannot blow up (facts/security.md 0.10)."""
    received = bytearray()
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) > most:
            raise errors.UpstreamTooLarge(f"The partner's API answered with more than {most} bytes.")
    return bytes(received)


def denied(error: BaseException | None) -> bool:
    while error:
        if isinstance(error, Denied):
            return True
        error = error.__cause__ or error.__context__
    return False
