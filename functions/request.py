"""One HTTP request, read once from the Functions library's own object."""

import ipaddress
import random
import re
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from urllib.parse import urlsplit
from uuid import UUID

import azure.functions as func

from shared_code import errors
from shared_code.model import Origin, carrier
from shared_code.redaction import redact

REQUEST_ID = re.compile(r"[A-Za-z0-9\-_.]{1,64}", re.ASCII)
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
LONGEST_AGENT = 300
random_bits = random.Random().getrandbits  # noqa: S311 - ids, not secrets


@carrier
class Incoming:
    method: str
    path_text: str
    """The path as it was sent, percent-encoding and all."""
    query_text: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    path: Mapping[str, str]
    raw: bytes = field(repr=False)
    request_id: str
    address: str | None
    """The last hop of X-Forwarded-For: the one that the platform's front end wrote."""

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    def presented_key(self) -> str | None:
        """`Authorization: Bearer <key>`, else `X-API-Key`. Anything else in Authorization is no key of ours."""
        scheme, _, credential = (self.header("authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            return credential.strip()
        return self.header("x-api-key")

    def uuid(self, name: str) -> UUID:
        """A path parameter that is an id. One that cannot be is simply not found."""
        try:
            return UUID(self.path[name])
        except ValueError as error:
            raise errors.NotFound() from error

    @property
    def traceparent(self) -> str | None:
        """The caller's own, if it is one."""
        given = self.header("traceparent")
        return given if given and TRACEPARENT.fullmatch(given) else None

    @property
    def origin(self) -> Origin:
        agent = (self.header("user-agent") or "")[:LONGEST_AGENT].replace("\x00", "")
        return Origin(
            request_id=self.request_id, address=self.address, agent=agent or None, traceparent=self.traceparent
        )


def address_in(hop: str) -> str | None:
    """The address of `1.2.3.4`, `1.2.3.4:5`, `::1` or `[::1]:5`."""
    if hop.startswith("["):
        return known_address(hop[1:].partition("]")[0])
    return known_address(hop.partition(":")[0] if hop.count(":") == 1 else hop)


@lru_cache(maxsize=4096)
def known_address(text: str) -> str | None:
    """Remembered: reading an address costs more than all else that is read of a request."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def plain(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The dict inside the library's mapping, names in lower case: each look at the mapping costs a microsecond."""
    return getattr(headers, "__http_headers__", headers)


def incoming(req: func.HttpRequest) -> Incoming:
    headers = plain(req.headers)
    given = headers.get("x-request-id") or ""
    url = urlsplit(req.url)
    return Incoming(
        method=req.method or "",
        path_text=url.path,
        query_text=url.query,
        headers=headers,
        query=req.params,
        path=req.route_params,
        raw=req.get_body(),
        request_id=given if given and sane(given) else f"{random_bits(128):032x}",
        address=address_in(headers.get("x-forwarded-for", "").rpartition(",")[2].strip()),
    )


def sane(request_id: str) -> bool:
    """Fit to stand in answers, logs and audit rows: short, plain, and no secret that somebody put there."""
    return bool(REQUEST_ID.fullmatch(request_id)) and redact(request_id) == request_id
