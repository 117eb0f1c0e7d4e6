"""From what a function returned to an HTTP answer (facts section 9 item 8 and section 1, request and response)."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from azure_functions_runtime.bindings.datumdef import Datum, parse_to_rpc_http_cookie_list

from devstack.functions_host import protos
from devstack.functions_host.cookies import set_cookie
from devstack.functions_host.requests import scheme_and_host
from devstack.functions_host.settings import Settings

RawHeaders = list[tuple[bytes, bytes]]
_NO_BODY = frozenset({204, 304})
# The connection's own business: the host measures the body itself.
_DROPPED = frozenset({"content-length", "transfer-encoding", "connection"})
_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


class Reply(NamedTuple):
    status: int
    headers: RawHeaders
    body: bytes


class BadReply(Exception):
    """A function returned what cannot be sent; the caller gets a 500."""


def bare(status: int) -> Reply:
    """An empty answer that no custom header is added to, as from in front of the functions' pipeline."""
    return Reply(status, [] if status in _NO_BODY else [(b"content-length", b"0")], b"")


class Replies:
    """Makes answers with the headers host.json asks for. A header of the function's own wins over a custom one;
    HSTS is on the answer before the function runs and so wins over the function's (facts section 9 item 8)."""

    def __init__(self, settings: Settings) -> None:
        self._hsts = settings.hsts
        self._custom = [
            (name.lower(), name.lower().encode("ascii"), value.encode("ascii"))
            for name, value in settings.custom_headers.items()
        ]

    def empty(self, status: int, request_headers: Mapping[str, str]) -> Reply:
        return self.made(status, {}, b"", request_headers)

    def of(self, value: Datum | None, request_headers: Mapping[str, str]) -> Reply:
        """The answer for an HTTP function's return value. Raises BadReply."""
        try:
            if value is not None and value.type == "http":
                return self._from_response(value.value, request_headers)
            if value is not None and value.type == "string":
                status, headers, body = _read_as_response(value.value)
                return self.made(status, headers, body, request_headers)
        except (ValueError, TypeError, OverflowError) as problem:
            raise BadReply(f"its answer cannot be sent: {problem}") from problem
        raise BadReply("it returned nothing that is an HTTP answer")

    def made(self, status: int, headers: Mapping[str, str], body: bytes, request_headers: Mapping[str, str]) -> Reply:
        if not 200 <= status <= 599:
            raise BadReply(f"its status {status} is not one that HTTP has for an answer")
        raw, taken = self._hsts_for(request_headers)
        for name, value in headers.items():
            lower = name.lower()
            if lower not in taken and lower not in _DROPPED:
                taken.add(lower)
                raw.append((lower.encode("ascii"), value.encode("ascii")))
        raw.extend((name, value) for lower, name, value in self._custom if lower not in taken)
        if status in _NO_BODY:
            return Reply(status, raw, b"")
        raw.append((b"content-length", b"%d" % len(body)))
        return Reply(status, raw, body)

    def _from_response(self, value: Mapping[str, Any], request_headers: Mapping[str, str]) -> Reply:
        headers = {name: datum.value for name, datum in value["headers"].items()}
        reply = self.made(int(value["status_code"].value), headers, value["body"].value, request_headers)
        cookies = value["cookies"]
        if cookies:
            for cookie in parse_to_rpc_http_cookie_list(cookies, protos) or ():
                reply.headers.append((b"set-cookie", set_cookie(cookie)))
        return reply

    def _hsts_for(self, request_headers: Mapping[str, str]) -> tuple[RawHeaders, set[str]]:
        if self._hsts is None or "x-forwarded-proto" not in request_headers:
            return [], set()
        scheme, host = scheme_and_host(request_headers)
        if scheme != "https" or host.rsplit(":", 1)[0].lower() in self._hsts.excluded_hosts:
            return [], set()
        return [(b"strict-transport-security", self._hsts.value.encode("ascii"))], {"strict-transport-security"}


def _read_as_response(text: str) -> tuple[int, Mapping[str, str], bytes]:
    """What the real host does to a returned `str`: JSON is sent as JSON, and a JSON object with a "body" is taken
    for an answer with status and headers of its own. The reason why handlers should never return `str`."""
    try:
        content = json.loads(text)
    except ValueError:
        return 200, {"content-type": _TEXT}, text.encode()
    if not isinstance(content, dict):
        return 200, {"content-type": _JSON}, _json(content)
    folded = {str(key).lower(): value for key, value in content.items()}
    if "body" not in folded:
        return 200, {"content-type": _JSON}, _json(content)
    body = folded["body"]
    status = int(folded.get("statuscode") or folded.get("status") or 200)
    headers = {"content-type": _TEXT if isinstance(body, str) else _JSON}
    headers |= {str(name).lower(): str(value) for name, value in (folded.get("headers") or {}).items()}
    return status, headers, body.encode() if isinstance(body, str) else _json(body)


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
