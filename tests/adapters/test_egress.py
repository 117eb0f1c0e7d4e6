"""The egress guard: which addresses may be called, and that no packet leaves for those that may not."""

import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as any_

from shared_code import errors
from shared_code.adapters import httpx_egress
from shared_code.adapters.egress_addresses import all_allowed, allowed
from shared_code.adapters.httpx_egress import Denied, GuardedBackend, fetch, guarded_client, resolve
from shared_code.adapters.httpx_partner_api import HttpxPartnerApi
from shared_code.ports import Forward, Returned
from tests.fault_proxy import Heard, Liar, answer

GOOD, OTHER_GOOD = "93.184.216.34", "1.1.1.1"
GET = Forward(method="GET", path="")

# ── Addresses ────────────────────────────────────────────────────────────────────────────────────

PUBLIC = """
    1.1.1.1 8.8.8.8 93.184.216.34 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0
    198.17.255.255 198.20.0.0 203.0.114.1 223.255.255.255
    2606:4700:4700::1111 2a00:1450:4001:801::200e 2001:4860:4860::8888 2400::1 2620:fe::fe 2003::1
"""
FORBIDDEN = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 168.63.129.16
    169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.88.99.3
    192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 224.1.2.3 233.252.0.16
    239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 4000::1 8000::1 1::1
    ::7f00:1 ::10.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1
    64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::c0a8:0 64:ff9b::808:808 64:ff9b:1::7f00:1 100::1
    2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe::1 2002:808:808::1
    3fff::dead:beef 3fff:fff:ffff::1 5f00::1 5f00::dead:beef
    fc00::1 fd00:ec2::254 fdff:ffff::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 fec0:0:0:ffff::1
    ff00::1 ff02::1 ff05::2 ff0e::1
"""


@pytest.mark.parametrize("address", PUBLIC.split())
def test_a_public_address_may_be_called(address: str):
    assert all_allowed([address])


@pytest.mark.parametrize("address", FORBIDDEN.split())
def test_no_other_address_may_be_called(address: str):
    assert not all_allowed([address])
    assert not all_allowed([GOOD, address, OTHER_GOOD])


def test_a_name_that_resolves_to_nothing_may_not_be_called():
    assert not all_allowed([])


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1"])
def test_loopback_may_be_called_where_the_devstack_says_so(address: str):
    assert all_allowed([address], loopback=True)


@pytest.mark.parametrize("address", sorted(set(FORBIDDEN.split()) - {"127.0.0.1", "127.255.255.254", "::1"}))
def test_nothing_else_is_let_through_with_it(address: str):
    assert all_allowed([address], loopback=True) is ip_address(address.partition("%")[0]).is_loopback


@given(any_.ip_addresses(v=4))
def test_no_ipv4_address_comes_through_inside_an_ipv6_one(address: IPv4Address):
    number = int(address)
    carried = [
        number,
        0xFFFF << 32 | number,
        0xFFFF << 48 | number,
        (0x64 << 112) | (0xFF9B << 96) | number,
        0x2002 << 112 | number << 80,
    ]
    assert not any(allowed(IPv6Address(each)) for each in carried)


@given(any_.ip_addresses())
def test_what_is_allowed_is_always_global_and_for_one_receiver(address: IPv4Address | IPv6Address):
    if allowed(address):
        assert address.is_global
        assert not any((address.is_multicast, address.is_private, address.is_loopback, address.is_link_local))


SPELLINGS = {
    "127.0.0.1": ["127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "①②⑦.⓪.⓪.①"],
    "169.254.169.254": ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xa9.254.0251.254"],
    "10.0.0.1": ["10.1", "0xa.1", "012.0.0.1", "167772161"],
    "0.0.0.0": ["0", "0x0", "0.0", "00000"],
}


@pytest.mark.parametrize(("spelled", "address"), [(s, address) for address, all_ in SPELLINGS.items() for s in all_])
async def test_an_address_is_known_in_every_spelling_that_the_system_takes(spelled: str, address: str):
    assert await resolve(spelled, 80, 5.0) == [address]
    backend = GuardedBackend(loopback=False)
    backend.inner = inner = Inner()
    with pytest.raises(Denied):
        await backend.connect_tcp(spelled, 80)
    assert inner.asked == []


# ── At connect time ──────────────────────────────────────────────────────────────────────────────


class Wire(httpcore.AsyncMockStream):
    """A connection on which the answer is already waiting; it tells by which name TLS was asked for."""

    def __init__(self, inner: "Inner") -> None:
        super().__init__([inner.answers])
        self.inner = inner

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.sent.append(buffer)

    async def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        self.inner.tls_names.append(kwargs["server_hostname"])
        return self


@dataclass(eq=False)
class Inner(httpcore.AsyncNetworkBackend):
    """What would send the packets. It remembers where to."""

    answers: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    asked: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    sent: list[bytes] = field(default_factory=list[bytes])
    tls_names: list[str] = field(default_factory=list[str])
    dead: frozenset[str] = frozenset()

    async def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        self.asked.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError("nobody there")
        return Wire(self)


@dataclass(eq=False)
class World:
    """The partners' API client, with the names of this test and nothing real behind it."""

    names: dict[str, list[str]]
    api: HttpxPartnerApi = field(default_factory=HttpxPartnerApi)
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        transport: Any = self.api.client._transport
        transport._pool._network_backend.inner = self.inner

    async def resolve(self, host: str, port: int, timeout: float | None) -> list[str]:
        return self.names[host]

    async def get(self, url: str) -> Returned:
        return await self.api.call(url, GET)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(names={"shop.example": [GOOD], "second.example": [GOOD], "evil.example": ["10.0.0.1"]})
    monkeypatch.setattr(httpx_egress, "resolve", world.resolve)
    return world


BAD_ANSWERS = [
    ["10.0.0.1"],
    [GOOD, "10.0.0.1"],
    ["10.0.0.1", GOOD],
    ["169.254.169.254"],
    ["168.63.129.16"],
    ["::ffff:127.0.0.1"],
    ["64:ff9b::7f00:1"],
    ["127.0.0.1"],
    ["::1"],
    ["fe80::1%2"],
    [GOOD, "2606:4700:4700::1111", "fd00::1"],
    [],
]


@pytest.mark.parametrize("addresses", BAD_ANSWERS)
@pytest.mark.parametrize("url", ["http://evil.example/", "https://evil.example/", "https://evil.example:8443/x"])
async def test_a_name_that_leads_inside_is_refused_and_no_packet_leaves(world: World, url: str, addresses: list[str]):
    world.names["evil.example"] = addresses
    with pytest.raises(errors.EgressDenied) as refusal:
        await world.get(url)
    assert world.inner.asked == []
    assert not any(address in refusal.value.message for address in addresses)


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(world: World):
    returned = await world.get("https://shop.example/orders")
    assert (returned.status, returned.body) == (200, b"{}")
    assert (world.inner.asked, world.inner.tls_names) == ([(GOOD, 443)], ["shop.example"])
    assert b"Host: shop.example\r\n" in world.inner.sent[0]


async def test_a_second_address_is_tried_when_the_first_is_dead(world: World):
    world.names["shop.example"] = [GOOD, OTHER_GOOD]
    world.inner.dead = frozenset({GOOD})
    assert (await world.get("http://shop.example/")).status == 200
    assert [host for host, _ in world.inner.asked] == [GOOD, OTHER_GOOD]
    world.inner.dead = frozenset({GOOD, OTHER_GOOD})
    world.inner.answers = b""
    await world.api.close()


async def test_a_name_with_only_dead_addresses_is_unreachable(world: World):
    world.inner.dead = frozenset({GOOD})
    with pytest.raises(errors.UpstreamUnreachable):
        await world.get("http://shop.example/")


async def test_a_name_is_looked_up_anew_for_every_connection(world: World):
    """Rebinding: harmless when it was registered, loopback when it is called."""
    world.inner.answers = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    await world.get("http://shop.example/")
    world.names["shop.example"] = ["127.0.0.1"]
    with pytest.raises(errors.EgressDenied):
        await world.get("http://shop.example/")
    assert world.inner.asked == [(GOOD, 80)]


async def test_another_name_never_rides_on_an_open_connection(world: World):
    await world.get("https://shop.example/")
    with pytest.raises(errors.EgressDenied):
        await world.get("https://evil.example/")
    assert world.inner.asked == [(GOOD, 443)]
    await world.get("https://second.example/")
    assert (world.inner.asked, world.inner.tls_names) == ([(GOOD, 443)] * 2, ["shop.example", "second.example"])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://127.0.0.1/", "http://evil.example/", "//shop.example/", "https://x@y"])
async def test_a_redirect_is_never_followed(world: World, status: int, location: str):
    world.inner.answers = f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(errors.UpstreamRedirected):
        await world.get("http://shop.example/")
    assert world.inner.asked == [(GOOD, 80)]


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://evil.example:3128")
    world = World(names={"shop.example": [GOOD]})
    monkeypatch.setattr(httpx_egress, "resolve", world.resolve)
    for url, port in ("http://shop.example/", 80), ("https://shop.example/", 443):
        await world.get(url)
        assert world.inner.asked.pop() == (GOOD, port)


async def test_a_socket_of_this_machine_is_not_reached():
    with pytest.raises(Denied):
        await GuardedBackend(loopback=True).connect_unix_socket("/run/docker.sock")


async def test_a_name_that_is_not_found_is_unreachable_and_not_denied(monkeypatch: pytest.MonkeyPatch):
    async def not_found(host: str, port: int, timeout: float | None) -> list[str]:
        raise httpcore.ConnectError("name not found")

    monkeypatch.setattr(httpx_egress, "resolve", not_found)
    with pytest.raises(errors.UpstreamUnreachable):
        await HttpxPartnerApi().call("http://shop.example/", GET)


async def test_a_name_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch):
    async def too_slow(host: str, port: int, timeout: float | None) -> list[str]:
        raise httpcore.ConnectTimeout("name lookup took too long")

    monkeypatch.setattr(httpx_egress, "resolve", too_slow)
    with pytest.raises(errors.UpstreamTimeout):
        await HttpxPartnerApi().call("http://shop.example/", GET)


# ── Paths ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("base", ["http://shop.example", "http://shop.example/", "http://shop.example/api/v2/"])
@pytest.mark.parametrize(
    "path", ["", "orders", "//evil.example/x", "@evil.example", ":80@evil.example/", "http://evil/"]
)
async def test_whatever_the_path_says_the_host_stays(world: World, base: str, path: str):
    await world.api.call(base, Forward(method="GET", path=path, query="a=b"))
    assert world.inner.asked == [(GOOD, 80)]
    target = world.inner.sent[0].split()[1].decode()
    assert target.startswith(httpx.URL(base).path.rstrip("/") or "/")
    assert target.endswith("?a=b")


@pytest.mark.parametrize(
    "request_",
    [
        Forward(method="GET", path="caf\xe9"),
        Forward(method="GET", path="", query="\xe9"),
        Forward(method="GET", path="a\x7f"),
        Forward(method="GET", path="", query="a\x00"),
        Forward(method="GET", path="x" * 70_000),
    ],
)
async def test_a_path_that_no_url_can_have_is_the_callers_fault(world: World, request_: Forward):
    with pytest.raises(errors.BadRequest):
        await world.api.call("http://shop.example/", request_)
    assert world.inner.asked == []


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def liars_server() -> Iterator[Liar]:
    with Liar() as liar:
        yield liar


@pytest.fixture
def liar(liars_server: Liar) -> Liar:
    liars_server.tells(answer(200, b"{}"))
    return liars_server


async def fetched(liar: Liar, **bounds: Any) -> tuple[httpx.Response, bytes]:
    async with guarded_client(loopback=True) as client:
        return await fetch(client, client.build_request("GET", liar.url), **bounds)


async def test_an_answer_within_the_bounds_comes_through(liar: Liar):
    response, body = await fetched(liar, most_bytes=2, seconds=20)
    assert (response.status_code, body) == (200, b"{}")


async def test_a_byte_too_many_is_too_much(liar: Liar):
    liar.tells(answer(200, b"{ }"))
    with pytest.raises(errors.UpstreamTooLarge):
        await fetched(liar, most_bytes=2, seconds=20)


async def test_what_is_packed_is_never_unpacked(liar: Liar):
    packed = gzip.compress(b" " * 50_000_000)
    liar.tells(answer(200, packed, "Content-Encoding: gzip"))
    with pytest.raises(errors.UpstreamTooLarge):
        await fetched(liar)
    liar.tells(answer(200, packed))
    assert (await fetched(liar))[1] == packed


async def test_the_whole_call_has_one_time_limit_however_often_a_byte_comes(liar: Liar):
    def drip(heard: Heard) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        for _ in range(400):
            time.sleep(0.05)
            yield b"."

    liar.tells(drip)
    began = time.monotonic()
    with pytest.raises(errors.UpstreamTimeout):
        await fetched(liar, seconds=0.5)
    assert 0.4 < time.monotonic() - began < 10


async def test_headers_without_end_are_cut(liar: Liar):
    def endless(heard: Heard) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X-More: " + b"x" * 60_000 + b"\r\n"

    liar.tells(endless)
    with pytest.raises(errors.UpstreamUnreachable):
        await fetched(liar)


async def test_loopback_is_refused_where_nobody_allowed_it(liar: Liar):
    for url in (liar.url, liar.url.replace("127.0.0.1", "localhost"), liar.url.replace("127.0.0.1", "127.1")):
        with pytest.raises(errors.EgressDenied):
            await HttpxPartnerApi().call(url, GET)
    assert liar.heard == []
