"""Which addresses PinkSync may connect to, for URLs that a partner can influence (facts/security.md 2.10).

`ipaddress.is_global` alone lets dangerous ones through (0.8): Azure's platform address, multicast, NAT64 and
every other form that carries an IPv4 address inside an IPv6 one. Those are listed here.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

FORBIDDEN = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's platform
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "2002::/16",  # 6to4
        "2001::/32",  # Teredo
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "fec0::/10",  # site-local
        "5f00::/16",  # segment routing
        "3fff::/20",  # documentation
    )
)


def allowed(address: IPv4Address | IPv6Address, *, loopback: bool = False) -> bool:
    """`loopback` is for the devstack alone."""
    if loopback and address.is_loopback:
        return True
    if address.is_multicast or not address.is_global:
        return False
    return not any(address.version == network.version and address in network for network in FORBIDDEN)


def all_allowed(addresses: Iterable[str], *, loopback: bool = False) -> bool:
    """One bad address spoils the whole answer: a name that also resolves to a private one is an attack."""
    parsed = [ip_address(text.partition("%")[0]) for text in addresses]
    return bool(parsed) and all(allowed(address, loopback=loopback) for address in parsed)
