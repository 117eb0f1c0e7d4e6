"""Custom headers of an endpoint: which names and values may be set (facts/svix.md §2, Endpoint rules)."""

import re
from typing import Annotated

from pydantic import AfterValidator

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_MAX_VALUE = 4096
_FORBIDDEN = frozenset(
    (
        *("user-agent", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers"),
        *("transfer-encoding", "upgrade", "age", "cache-control", "clear-site-data", "expires", "pragma"),
        *("warning", "content-length", "content-type", "content-encoding", "content-language"),
        "content-location",
    )
)
_FORBIDDEN_PREFIXES = (*("x-amz-", "x-amzn-", "x-google", "x-goog-", "x-gfe", "x-azure-", "x-fd-", "x-svix-", "svix-"),)
_SENSITIVE = frozenset(
    (
        *("authorization", "x-api-key", "x-auth-token", "www-authenticate"),
        *("proxy-authenticate", "proxy-authorization"),
    )
)


def checked(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        check_name(name)
        _check_value(value)
    return headers


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("Invalid Header Name.")
    if name.lower() in _FORBIDDEN:
        raise ValueError("Header uses a forbidden key.")
    if name.lower().startswith(_FORBIDDEN_PREFIXES):
        raise ValueError("Header starts with a forbidden prefix.")


def shown(headers: dict[str, str]) -> dict[str, object]:
    """Sensitive ones by name only; they are never read back."""
    sensitive = [name for name in headers if name.lower() in _SENSITIVE]
    return {
        "headers": {name: value for name, value in headers.items() if name not in sensitive},
        "sensitive": sensitive,
    }


def _check_value(value: str) -> None:
    if not _VALUE.fullmatch(value):
        raise ValueError("Invalid Header Value.")
    if len(value.encode()) > _MAX_VALUE:
        raise ValueError("Maximum header length is 4096 bytes")


Headers = Annotated[dict[str, str], AfterValidator(checked)]
