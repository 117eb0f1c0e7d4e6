"""`Set-Cookie` lines as ASP.NET writes them from the worker's cookies."""

from datetime import UTC, datetime
from urllib.parse import quote

from devstack.functions_host.protos import RpcHttpCookie

_SAME_SITE = {1: "lax", 2: "strict", 3: "none"}
_UNRESERVED = "-._~"


def set_cookie(cookie: RpcHttpCookie) -> bytes:
    """The value is escaped again, so only what a URL may hold comes through unchanged (facts section 1)."""
    line = [f"{cookie.name}={quote(cookie.value, safe=_UNRESERVED)}"]
    if cookie.expires:
        when = datetime.fromtimestamp(cookie.expires.value.seconds, UTC)
        line.append(f"expires={when:%a, %d %b %Y %H:%M:%S} GMT")
    if cookie.max_age:
        line.append(f"max-age={int(cookie.max_age.value)}")
    if cookie.domain and cookie.domain.value:
        line.append(f"domain={cookie.domain.value}")
    if cookie.path and cookie.path.value:
        line.append(f"path={cookie.path.value}")
    if cookie.secure and cookie.secure.value:
        line.append("secure")
    if cookie.same_site:
        line.append(f"samesite={_SAME_SITE[cookie.same_site]}")
    if cookie.http_only and cookie.http_only.value:
        line.append("httponly")
    return "; ".join(line).encode("ascii")
