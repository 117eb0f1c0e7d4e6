"""Which URLs PinkSync may be told to call (facts/security.md 2.10), by the parser that will make the call.

Addresses are checked again at every connect; this is the early, clear answer at registration.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from shared_code import errors

LONGEST = 2048
LOCAL_SUFFIXES = (".internal", ".local", ".localhost", ".localdomain", ".home.arpa")
PORTS = (None, 443, 8443)
LABEL = r"[a-z0-9_]([a-z0-9_\-]{0,61}[a-z0-9_])?"
NAME = re.compile(rf"{LABEL}(\.{LABEL})*\.?", re.ASCII)
"""Every parser must read the same host: no `%2f`, no `,`, no empty label."""


@dataclass(frozen=True, slots=True)
class HttpxUrlRule:
    allow_loopback: bool = False

    def __call__(self, url: str) -> None:
        parsed = parse(url)
        if self.allow_loopback and parsed.host in ("127.0.0.1", "localhost", "::1"):
            return
        for refused, reason in REASONS:
            if refused(parsed):
                raise not_allowed(reason)


def parse(url: str) -> httpx.URL:
    if len(url) > LONGEST or any(ord(char) <= 32 or ord(char) == 127 for char in url) or "\\" in url:
        raise not_allowed(f"A URL has at most {LONGEST} characters, and no spaces, control characters or backslashes.")
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # decodes punycode, and fails if it is none
    except (httpx.InvalidURL, ValueError) as error:
        raise not_allowed("This is not a URL.") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise not_allowed("A URL starts with https:// and a host.")
    if parsed.userinfo or parsed.fragment:
        raise not_allowed("A URL with a user, password or fragment is not taken.")
    return parsed


def numeric(host: str) -> bool:
    """An address, in any of the spellings that resolvers take: 2130706433, 0x7f.1, [::1]."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        return last.isdigit() or last.lower().startswith("0x")
    return True


REASONS: tuple[tuple[Callable[[httpx.URL], bool], str], ...] = (
    (lambda url: url.scheme != "https", "Only https:// is allowed."),
    (lambda url: url.port not in PORTS, "Only the ports 443 and 8443 are allowed."),
    (lambda url: numeric(url.host), "A host name is needed, not an address."),
    (lambda url: "." not in url.host.strip("."), "A full host name is needed."),
    (lambda url: url.host.rstrip(".").lower().endswith(LOCAL_SUFFIXES), "This host is not a public one."),
    (lambda url: len(url.host) > 253, "The host name is too long."),
    (lambda url: not NAME.fullmatch(url.raw_host.decode()), "The host name has a character or place that none has."),
)


def not_allowed(reason: str) -> errors.UrlNotAllowed:
    return errors.UrlNotAllowed(violations=[errors.Violation(pointer="/url", detail=reason)])
