"""Which addresses PinkSync may connect to, for URLs that a partner can influence (facts/security.md 2.10).

`ipaddress.is_global` alone lets dangerous ones through (0.8): Azure's platform address, multicast, and most forms
that carry an IPv4 address inside an IPv6 one: NAT64, IPv4-mapped, -compatible and -translated, 6to4, Teredo.
Hosts have IPv6 addresses of 2000::/3 alone; what is dangerous inside of it is listed here.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

UNICAST = {4: ip_network("0.0.0.0/0"), 6: ip_network("2000::/3")}
FORBIDDEN = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's platform
        "192.88.99.0/24",  # 6to4 relays
        "2002::/16",  # 6to4
        "2001::/32",  # Teredo
        "3fff::/20",  # documentation
    )
)


def allowed(address: IPv4Address | IPv6Address, *, loopback: bool = False) -> bool:
    """`loopback` is for the devstack alone."""
    if loopback and address.is_loopback:
        return True
    if address.is_multicast or not address.is_global or address not in UNICAST[address.version]:
        return False
    return not any(address.version == network.version and address in network for network in FORBIDDEN)


def all_allowed(addresses: Iterable[str], *, loopback: bool = False) -> bool:
    """One bad address spoils the whole answer: a name that also resolves to a private one is an attack."""
    parsed = [ip_address(text.partition("%")[0]) for text in addresses]
    return bool(parsed) and all(allowed(address, loopback=loopback) for address in parsed)
