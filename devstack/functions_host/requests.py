"""From an ASGI request to the message Python gets (facts section 9 items 2 and 5)."""

from collections.abc import Iterable, Mapping
from urllib.parse import unquote_plus

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.functions_host.asgi import Receive, Scope
from devstack.functions_host.paths import encoded

_METHODS = {name: Datum(name, "string") for name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")}


class ClientGone(Exception):
    """The connection ended before the whole body came; the real host does not call the function either."""


def read_headers(raw: Iterable[tuple[bytes, bytes]], client: tuple[str, int] | None) -> dict[str, str]:
    """Names in lower case, several values of one name joined by a comma; UnicodeDecodeError is a 400.

    Azure's front end writes down where a request came from; the host adds that where nobody did.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode(), raw_value.decode()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    if client is not None and "x-forwarded-for" not in headers:
        headers["x-forwarded-for"] = f"{client[0]}:{client[1]}"
    return headers


def read_query(raw: bytes) -> dict[str, str]:
    """Keys are one whatever their case; values are joined by a comma; what stays empty is dropped."""
    values: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for pair in raw.decode("latin-1").split("&"):
        if not pair:
            continue
        name, _, value = (unquote_plus(part) for part in pair.partition("="))
        key = spelling.setdefault(name.lower(), name)
        values[key] = f"{values[key]},{value}" if key in values else value
    return {key: value for key, value in values.items() if value}


async def read_body(receive: Receive, length: int) -> bytes:
    """The body of a request that announced its length."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return message["body"]
    pieces = []
    while message["type"] == "http.request":
        pieces.append(message["body"])
        if not message.get("more_body"):
            return b"".join(pieces)
        message = await receive()
    raise ClientGone(f"{sum(map(len, pieces))} of {length} bytes came")


def http_datum(
    scope: Scope, path: str, headers: Mapping[str, str], parameters: Mapping[str, str], body: bytes
) -> Datum:
    method, query = scope["method"], scope["query_string"]
    return Datum(
        {
            "method": _METHODS.get(method) or Datum(method, "string"),
            "url": Datum(_url(scope, path, headers), "string"),
            "headers": {name: Datum(value, "string") for name, value in headers.items()},
            "body": Datum(body, "bytes"),
            "params": {name: Datum(value, "string") for name, value in parameters.items()},
            "query": {name: Datum(value, "string") for name, value in read_query(query).items()} if query else {},
        },
        "http",
    )


def scheme_and_host(headers: Mapping[str, str]) -> tuple[str, str]:
    """As Azure's front end tells them; locally there is none and the plain connection counts."""
    host = headers.get("disguised-host") or headers.get("host", "localhost")
    return headers.get("x-forwarded-proto", "http"), host


def _url(scope: Scope, path: str, headers: Mapping[str, str]) -> str:
    scheme, host = scheme_and_host(headers)
    raw_path: bytes = scope["raw_path"]
    shown = f"/{encoded(path)}" if b"%" in raw_path else raw_path.decode("latin-1")
    query: bytes = scope["query_string"]
    return f"{scheme}://{host}{shown}?{query.decode('latin-1')}" if query else f"{scheme}://{host}{shown}"
