"""Which addresses a webhook may be delivered to (facts/svix.md §5).

Checked when connecting, never when an endpoint is created: a name is resolved once, refused addresses
are dropped, and the connection goes to one of the rest, so a second lookup cannot change the answer.
"""

import asyncio
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# `ipaddress.is_global` is not enough: it calls multicast, 6to4, NAT64 and others global.
_BLOCKED = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "2002::/16"),
        *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
]


class BlockedAddress(Exception):
    """requests to this IP range are blocked (see the server configuration)"""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def blocked(address: IpAddress, *, allow_loopback: bool) -> bool:
    address = _canonical(address)
    if allow_loopback and address.is_loopback:
        return False
    return any(address in network for network in _BLOCKED)


def literal(host: str) -> IpAddress | None:
    """The address that a URL's host is, if it is one; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


class GuardedResolver(AbstractResolver):
    """Answers only with addresses that may be delivered to."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        answers = [_answer(host, port, entry[0], str(entry[4][0])) for entry in found]
        allowed = [answer for answer in answers if not self._blocked(answer["host"])]
        if not allowed:
            raise BlockedAddress
        return allowed

    async def close(self) -> None:
        """Holds nothing."""

    def _blocked(self, host: str) -> bool:
        address = literal(host)
        return address is None or blocked(address, allow_loopback=self._allow_loopback)


def _answer(name: str, port: int, family: int, address: str) -> ResolveResult:
    return ResolveResult(hostname=name, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


def _canonical(address: IpAddress) -> IpAddress:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
