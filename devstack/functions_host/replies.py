"""From what a function returned to an HTTP answer (facts section 9 item 8 and section 1, request and response)."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from azure_functions_runtime.bindings.datumdef import Datum, parse_to_rpc_http_cookie_list

from devstack.functions_host import protos
from devstack.functions_host.cookies import set_cookie
from devstack.functions_host.requests import scheme_and_host
from devstack.functions_host.settings import Settings

_NO_BODY = frozenset({204, 304})
# The connection's own business: the host measures the body itself.
_DROPPED = ("content-length", "transfer-encoding", "connection")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


class Reply(NamedTuple):
    status: int
    head: bytes
    """The lines of its headers, each with its end."""
    body: bytes


class BadReply(Exception):
    """A function returned what cannot be sent; the caller gets a 500."""


def bare(status: int) -> Reply:
    """An empty answer that no custom header is added to, as from in front of the functions' pipeline."""
    return Reply(status, b"" if status in _NO_BODY else b"content-length: 0\r\n", b"")


class Replies:
    """Makes answers with the headers host.json asks for. A header of the function's own wins over a custom one;
    HSTS is on the answer before the function runs and so wins over the function's (facts section 9 item 8)."""

    def __init__(self, settings: Settings) -> None:
        self._hsts = settings.hsts
        self._custom = {_field_name(name): value for name, value in settings.custom_headers.items()}

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
        fields = self._hsts_for(request_headers)
        for name, value in headers.items():
            fields.setdefault(_field_name(name), value)
        for name in _DROPPED:
            fields.pop(name, None)
        for name, value in self._custom.items():
            fields.setdefault(name, value)
        if status in _NO_BODY:
            return Reply(status, _lines(fields), b"")
        fields["content-length"] = str(len(body))
        return Reply(status, _lines(fields), body)

    def _from_response(self, value: Mapping[str, Any], request_headers: Mapping[str, str]) -> Reply:
        headers = {name: datum.value for name, datum in value["headers"].items()}
        reply = self.made(int(value["status_code"].value), headers, value["body"].value, request_headers)
        cookies = parse_to_rpc_http_cookie_list(value["cookies"], protos) if value["cookies"] else None
        if cookies:
            lines = (b"set-cookie: %b\r\n" % set_cookie(cookie) for cookie in cookies)
            return reply._replace(head=b"".join((reply.head, *lines)))
        return reply

    def _hsts_for(self, request_headers: Mapping[str, str]) -> dict[str, str]:
        if self._hsts is None or "x-forwarded-proto" not in request_headers:
            return {}
        scheme, host = scheme_and_host(request_headers)
        if scheme != "https" or host.rsplit(":", 1)[0].lower() in self._hsts.excluded_hosts:
            return {}
        return {"strict-transport-security": self._hsts.value}


@lru_cache(maxsize=1024)
def _field_name(name: str) -> str:
    """As it is sent. Remembered, as an app has few of them and each answer has ten. Raises ValueError."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header")
    return name.lower()


def _lines(fields: Mapping[str, str]) -> bytes:
    """Raises ValueError for a value that no line can hold."""
    if _CONTROL.search("".join(fields.values())):
        raise ValueError("a header's value has a control character")
    return "".join([f"{name}: {value}\r\n" for name, value in fields.items()]).encode("ascii")


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
