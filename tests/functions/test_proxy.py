"""The way to partners' own APIs: their credentials put in, the caller's taken out, and partners that misbehave."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest

from tests import services
from tests.fault_proxy import Heard, Liar, answer, json_answer
from tests.functions.stack import Connect, Connected, Headers, Json, Receiver, Stack, refused
from tests.services import Service, eventually, free_port

MIB = 1024 * 1024
CALLERS_OWN = {
    "Cookie": "session=of-the-caller",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "gateway.example",
    "Forwarded": "for=203.0.113.9",
    "X-Partner-Id": "11111111-1111-1111-1111-111111111111",
    "X-Internal": "caller",
    "Referer": "https://gateway.example/",
    "Origin": "https://gateway.example",
}


@dataclass(frozen=True, slots=True)
class Shop:
    """An example partner of this module's own, from behind the gateway's back."""

    service: Service
    client: httpx.Client = field(repr=False)

    @property
    def endpoint(self) -> str:
        return f"{self.service.url}/api"

    @property
    def credentials(self) -> Json:
        return {"api_key": self.service.secret}

    def misbehaves(self, **fault: Any) -> None:
        self.client.put("/_devstack/faults", json=fault).raise_for_status()

    def behaves(self) -> None:
        self.client.delete("/_devstack/faults").raise_for_status()
        self.client.delete("/_devstack/requests").raise_for_status()

    def asked(self) -> list[Json]:
        """What came to its API since it last began to behave, oldest first."""
        return self.client.get("/_devstack/requests").raise_for_status().json()["requests"]


@pytest.fixture(scope="module")
def shop_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with services.start_partner(folder) as service, httpx.Client(base_url=service.url, trust_env=False) as client:
        yield Shop(service, client)


@pytest.fixture
def shop(shop_server: Shop) -> Shop:
    shop_server.behaves()
    return shop_server


@pytest.fixture
def partner(shop: Shop, connect: Connect) -> Connected:
    return connect(api_endpoint=shop.endpoint, credentials=shop.credentials)


@pytest.fixture(scope="module")
def liars_server() -> Iterator[Liar]:
    with Liar() as liar:
        yield liar


@pytest.fixture
def liar(liars_server: Liar) -> Liar:
    liars_server.tells(json_answer(b"{}"))
    return liars_server


@pytest.fixture
def false_friend(liar: Liar, connect: Connect) -> Connected:
    """A partner whose API is the liar, below /base."""
    return connect(api_endpoint=f"{liar.url}/base", credentials={"api_key": "its-key"})


def proxy(partner: Connected, path: str = "orders") -> str:
    return f"/api/proxy/{partner.id}/{path}"


# ── Credentials ──────────────────────────────────────────────────────────────────────────────────


def seen_as(kind: str, secret: str) -> tuple[str, Json]:
    """The auth_method and the credentials for a way of showing the shop's key."""
    return {
        "default header": ("api_key", {"api_key": secret}),
        "named header": ("api_key", {"api_key": secret, "header": "x-ApI-kEy"}),
        "query": ("api_key", {"api_key": secret, "query": "api_key"}),
        "bearer": ("bearer", {"token": secret}),
        "basic": ("basic", {"username": "pinksync", "password": secret}),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "header", "value"),
    [
        ("default header", "x-api-key", "***"),
        ("named header", "x-api-key", "***"),
        ("query", None, None),
        ("bearer", "authorization", "Bearer ***"),
        ("basic", "authorization", "Basic ***"),
    ],
)
def test_the_partners_credentials_are_put_in_and_the_callers_own_taken_out(
    api: httpx.Client, admin: Headers, connect: Connect, shop: Shop, kind: str, header: str | None, value: str | None
):
    method, credentials = seen_as(kind, shop.service.secret)
    partner = connect(api_endpoint=shop.endpoint, auth_method=method, credentials=credentials)
    key = admin["Authorization"].removeprefix("Bearer ")
    everything = CALLERS_OWN | {"X-Request-Id": "trace-7", "X-API-Key": key}
    answered = api.get(proxy(partner, "orders?limit=2"), headers=admin | everything)
    assert (answered.status_code, len(answered.json()["data"])) == (200, 2)

    [request] = shop.asked()
    arrived = request["headers"]
    assert request["query"] == ("limit=2&api_key=***" if kind == "query" else "limit=2")
    shown = {name: arrived[name] for name in ("x-api-key", "authorization") if name in arrived}
    assert shown == ({header: value} if header else {})
    assert key not in json.dumps(request)
    assert not {name.lower() for name in CALLERS_OWN} & arrived.keys()
    assert (arrived["x-request-id"], arrived["accept-encoding"]) == ("trace-7", "identity")
    assert arrived["host"] == httpx.URL(shop.endpoint).netloc.decode()


def test_a_header_of_any_name_can_carry_the_key(false_friend: Connected, api: httpx.Client, admin: Headers, liar: Liar):
    body = {"credentials": {"api_key": "its-key", "header": "X-Shop-Token"}}
    api.patch(false_friend.path, json=body, headers=admin).raise_for_status()
    api.get(proxy(false_friend), headers=admin).raise_for_status()
    assert liar.heard[0].headers["x-shop-token"] == "its-key"
    assert not {"x-api-key", "authorization"} & liar.heard[0].headers.keys()


def test_a_partner_without_credentials_is_called_without_any(
    api: httpx.Client, admin: Headers, connect: Connect, liar: Liar
):
    partner = connect(api_endpoint=liar.url)
    api.get(proxy(partner), headers=admin | {"X-API-Key": "stray"}).raise_for_status()
    assert not {"x-api-key", "authorization"} & liar.heard[0].headers.keys()


@pytest.mark.parametrize(
    "credentials",
    [
        {"api_key": "schlüssel"},
        {"api_key": "two\r\nX-Injected: yes"},
        {"api_key": "k", "header": "X Bad"},
        {"api_key": "k", "header": "X-Bad\r\nX-Injected"},
        {"api_key": "k", "header": "Host"},
        {"api_key": "7", "header": "Content-Length"},
        {"api_key": "chunked", "header": "transfer-encoding"},
    ],
)
def test_credentials_that_no_header_can_carry_are_never_sent(
    api: httpx.Client, admin: Headers, connect: Connect, liar: Liar, credentials: Json
):
    body = {"api_endpoint": liar.url, "credentials": credentials}
    made = api.post(
        "/api/partners/connect",
        json=body | {"name": "Corner Shop", "type": "vendor", "auth_method": "api_key"},
        headers=admin,
    )
    if made.status_code == 201:
        partner = Connected(made.json())
        refused(api.get(proxy(partner), headers=admin), 409, "conflict")
        tested = api.post(f"{partner.path}/test", headers=admin).json()
        assert (tested["ok"], "credentials" in tested["checks"][0]["detail"]) == (False, True)
    else:
        refused(made, 422)
    assert liar.heard == []


def test_a_secret_of_the_partner_is_in_no_answer(api: httpx.Client, admin: Headers, partner: Connected, shop: Shop):
    answers = [
        api.get(proxy(partner), headers=admin),
        api.get(partner.path, headers=admin),
        api.get(f"/api/logs?partner_id={partner.id}", headers=admin),
        api.post(f"{partner.path}/test", headers=admin),
    ]
    for each in answers:
        assert each.status_code == 200
        assert shop.service.secret not in each.text + str(each.headers)


# ── Who may ──────────────────────────────────────────────────────────────────────────────────────


def key_with(api: httpx.Client, admin: Headers, *scopes: str, partner: Connected | None = None) -> Headers:
    body = {"name": "proxy key", "scopes": list(scopes)} | ({"partner_id": partner.id} if partner else {})
    made = api.post("/api/keys", json=body, headers=admin)
    assert made.status_code == 201, made.text
    return {"X-API-Key": made.json()["api_key"]}


def test_only_an_admin_or_the_scope_for_this_partner_may_call(
    api: httpx.Client, admin: Headers, connect: Connect, partner: Connected, shop: Shop
):
    other = connect()
    scope = f"proxy:{partner.id}"
    allowed = [admin, key_with(api, admin, scope), key_with(api, admin, scope, "read:orders", partner=other)]
    denied = [
        partner.key,
        other.key,
        key_with(api, admin, "read:*", "write:*"),
        key_with(api, admin, f"proxy:{other.id}", partner=other),
    ]
    assert [api.get(proxy(partner), headers=key).status_code for key in allowed] == [200] * 3
    for key in denied:
        problem = refused(api.get(proxy(partner), headers=key), 403, "insufficient_scope")
        assert problem["required_scope"] == scope
    refused(api.get(proxy(partner)), 401, "unauthorized")
    assert len(shop.asked()) == 3


def test_the_scope_counts_however_the_partner_is_spelled(
    api: httpx.Client, admin: Headers, connect: Connect, partner: Connected, shop: Shop
):
    key = key_with(api, admin, f"proxy:{connect().id}")
    spelled = [partner.id.upper(), partner.id.replace("-", ""), f"{{{partner.id}}}", f"urn:uuid:{partner.id}"]
    assert [api.get(f"/api/proxy/{each}/orders", headers=key).status_code for each in spelled] == [403] * 4
    assert shop.asked() == []


@pytest.mark.parametrize("partner_id", [uuid4(), "corner-shop", "*", "%2e%2e"])
def test_a_partner_that_is_not_there_is_not_found(api: httpx.Client, admin: Headers, partner_id: Any):
    refused(api.get(f"/api/proxy/{partner_id}/orders", headers=admin), 404)


def test_a_partner_that_cannot_be_called_is_a_conflict(
    api: httpx.Client, admin: Headers, connect: Connect, partner: Connected, shop: Shop
):
    refused(api.get(proxy(connect()), headers=admin), 409, "conflict")
    pending = connect(api_endpoint=shop.endpoint, auth_method="oauth2")
    assert "OAuth" in refused(api.get(proxy(pending), headers=admin), 409, "conflict")["detail"]
    for move in ("suspend", "deactivate"):
        api.post(f"{partner.path}/{move}", headers=admin).raise_for_status()
        refused(api.get(proxy(partner), headers=admin), 409, "conflict")
    api.post(f"{partner.path}/activate", headers=admin).raise_for_status()
    assert api.get(proxy(partner), headers=admin).status_code == 200
    api.delete(partner.path, headers=admin).raise_for_status()
    refused(api.get(proxy(partner), headers=admin), 404)
    assert len(shop.asked()) == 1


# ── What passes ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_passes_with_query_body_and_the_headers_about_them(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, method: str
):
    sent = admin | {
        "Content-Type": "application/xml; charset=latin-1",
        "Accept": "text/csv;q=0.5",
        "Accept-Language": "de",
        "Idempotency-Key": "order-7",
        "If-Match": '"v1"',
        "Range": "bytes=0-9",
    }
    target = proxy(false_friend, "a%20b/c%2Fd/%C3%A9?tag[]=1&tag[]=2&empty=&plus=a+b&q=%26%3D")
    answered = api.request(method, target, content=b"<\xe9/>", headers=sent)
    assert answered.status_code == 200
    [heard] = liar.heard
    assert (heard.method, heard.body) == (method, b"<\xe9/>")
    assert heard.target == "/base/a%20b/c%2Fd/%C3%A9?tag[]=1&tag[]=2&empty=&plus=a+b&q=%26%3D"
    passed = {name: heard.headers[name.lower()] for name in sent if name != "Authorization"}
    assert passed == {name: value for name, value in sent.items() if name != "Authorization"}


def test_the_base_itself_can_be_called(api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar):
    for path, target in ("", "/base"), ("/", "/base"), ("?a=1", "/base?a=1"), ("//x", "/base/x"):
        liar.tells(json_answer(b"{}"))
        assert api.get(f"/api/proxy/{false_friend.id}{path}", headers=admin).status_code == 200
        assert [heard.target for heard in liar.heard] == [target]


def test_a_query_of_the_api_endpoints_own_stays(api: httpx.Client, admin: Headers, connect: Connect, liar: Liar):
    partner = connect(api_endpoint=f"{liar.url}/base?site=7", credentials={"api_key": "k"})
    for path, target in ("", "/base?site=7"), ("?a=1", "/base?site=7&a=1"), ("/x?b", "/base/x?site=7&b"):
        liar.tells(json_answer(b"{}"))
        assert api.get(f"/api/proxy/{partner.id}{path}", headers=admin).status_code == 200
        assert [heard.target for heard in liar.heard] == [target]


def test_a_record_lives_its_life_through_the_proxy(api: httpx.Client, admin: Headers, partner: Connected):
    made = api.post(proxy(partner), json={"number": "P-1", "total": 5}, headers=admin)
    assert (made.status_code, made.headers["location"].startswith("/api/orders/")) == (201, True)
    one = proxy(partner, f"orders/{made.json()['id']}")
    read = api.get(one, headers=admin)
    assert read.json()["number"] == "P-1"
    known = api.get(one, headers=admin | {"If-None-Match": read.headers["etag"]})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", read.headers["etag"])
    head = api.head(one, headers=admin)
    assert (head.status_code, head.content) == (200, b"")
    assert api.patch(one, json={"total": 6}, headers=admin).json()["total"] == 6
    assert api.delete(one, headers=admin).status_code == 204
    gone = api.get(one, headers=admin)
    assert (gone.status_code, gone.headers["content-type"], "error" in gone.json()) == (404, "application/json", True)
    assert api.put(one, content=b"{", headers=admin).status_code in (400, 404)
    assert api.delete(proxy(partner), headers=admin).status_code == 405


@pytest.mark.parametrize(
    "status", [200, 202, 206, 207, 299, 400, 401, 402, 403, 404, 409, 410, 418, 422, 451, 500, 503]
)
def test_the_partners_status_is_the_callers(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, status: int
):
    liar.tells(json_answer(b'{"said": 1}', "Retry-After: 7", 'WWW-Authenticate: Basic realm="shop"', status=status))
    answered = api.get(proxy(false_friend), headers=admin)
    assert (answered.status_code, answered.json(), answered.headers["retry-after"]) == (status, {"said": 1}, "7")
    assert "www-authenticate" not in answered.headers


@pytest.mark.parametrize("status", [199, 600, 999])
def test_a_status_that_http_does_not_have_is_a_failed_answer(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, status: int
):
    liar.tells(json_answer(b"{}", status=status))
    assert api.get(proxy(false_friend), headers=admin).json()["status"] in (502, 504)


def test_nothing_of_the_partners_speaks_for_the_gateway(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar
):
    spoken = {
        "Set-Cookie": "session=of-the-partner",
        "X-Request-Id": "of-the-partner",
        "X-RateLimit-Limit": "7",
        "X-RateLimit-Remaining": "7",
        "X-RateLimit-Reset": "7",
        "RateLimit": "of-the-partner",
        "RateLimit-Policy": "of-the-partner",
        "X-PinkSync-Degraded": "partner",
        "X-Cache": "HIT",
        "Idempotency-Replayed": "true",
        "Cache-Control": "public, max-age=31536000",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Credentials": "true",
        "Strict-Transport-Security": "max-age=0",
        "Clear-Site-Data": '"*"',
        "Alt-Svc": 'h3="evil.example:443"',
        "Server": "of-the-partner",
    }
    liar.tells(json_answer(b"{}", *(f"{name}: {value}" for name, value in spoken.items()), "X-Shop: open"))
    answered = api.get(proxy(false_friend), headers=admin | {"X-Request-Id": "trace-7"})
    assert answered.headers["x-shop"] == "open"
    repeated = {name for name, value in spoken.items() if answered.headers.get(name) == value}
    assert repeated == set()
    assert answered.headers.get_list("cache-control") == ["no-store"]
    assert (answered.headers["x-request-id"], answered.headers["x-ratelimit-limit"]) == ("trace-7", "60000")


@pytest.mark.parametrize("header", ["X-Shop: caf\xe9", "Content-Type: text/plain; charset=\xe9", 'ETag: "\xff"'])
def test_headers_of_the_partner_that_are_not_ascii_do_not_break_the_answer(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, header: str
):
    liar.tells(answer(200, b"fine", header))
    answered = api.get(proxy(false_friend), headers=admin)
    assert (answered.status_code, answered.content) == (200, b"fine")


def test_headers_of_the_caller_that_cannot_be_passed_on_do_not_break_the_call(
    api: httpx.Client, admin: Headers, false_friend: Connected
):
    strange: Any = {b"Accept-Language": "français".encode(), b"If-Match": b'"\xc3\xa9"'}
    sent = strange | {name.encode(): value.encode() for name, value in admin.items()}
    assert api.get(proxy(false_friend), headers=sent).status_code in (200, 400)


def test_a_body_of_a_mebibyte_passes_and_more_does_not(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar
):
    body = bytes(range(256)) * 4096
    assert api.post(proxy(false_friend), content=body, headers=admin).status_code == 200
    assert liar.heard[0].body == body
    refused(api.post(proxy(false_friend), content=body + b"x", headers=admin), 413, "too_large")
    assert len(liar.heard) == 1


# ── The way out leads to the partner's host alone ────────────────────────────────────────────────

UPWARDS = [
    "..",
    ".",
    "../x",
    "orders/../../x",
    "orders/./x",
    "%2e%2e/x",
    "%2E%2e/x",
    ".%2e/x",
    "%2e./x",
    "..%2fx",
    "..%2Fx",
    "%2e%2e%2fx",
    "orders%2f..%2fx",
    "..%5cx",
    "..\\x",
    "%2e%2e%5cx",
    "%252e%252e/x",
    "%252e%252e%252fx",
    "..%252fx",
    "..;/x",
    "..;a=b/x",
    "%2e%2e;/x",
    "%2e%2e%3b/x",
    "orders/..",
    "orders/%2e%2e",
    "orders/..?a=1",
]


@pytest.mark.parametrize("path", UPWARDS)
def test_a_step_upwards_is_refused_however_it_is_spelled(
    stack: Stack, admin: Headers, false_friend: Connected, liar: Liar, path: str
):
    assert as_it_is(stack, proxy(false_friend, path), admin) == 400
    assert liar.heard == []


ELSEWHERE = [
    "/evil.example/x",
    "//evil.example/x",
    "@evil.example/x",
    ":80@evil.example/x",
    "http://evil.example/x",
    "http:%2f%2fevil.example/x",
    "%2f%2fevil.example/x",
    "%5c%5cevil.example/x",
    "\\\\evil.example/x",
    "%40evil.example",
    "?@evil.example/",
    "%3f@evil.example",
    "%23@evil.example",
    "%00",
    "%0d%0aHost:%20evil.example",
    "x%20HTTP/1.1%0d%0aHost:%20evil.example",
    "..evil",
    "...",
    "x..",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_no_path_leads_to_another_host_or_out_of_the_base(
    stack: Stack, admin: Headers, false_friend: Connected, liar: Liar, path: str
):
    status = as_it_is(stack, proxy(false_friend, path), admin)
    assert status in (200, 400, 404)
    assert len(liar.heard) == (status == 200)
    for heard in liar.heard:
        assert heard.headers["host"] == httpx.URL(liar.url).netloc.decode()
        assert heard.target.startswith("/base")
        assert heard.target[5:6] in ("", "/", "?")


@pytest.mark.parametrize("query", ["?a=\xe9", "?a=\x7f", "?a=%00%ff", "?" + "x" * 70_000, "?a=b?c#d"])
def test_no_query_breaks_the_gateway(stack: Stack, admin: Headers, false_friend: Connected, query: str):
    assert as_it_is(stack, proxy(false_friend, query), admin) < 500


def as_it_is(stack: Stack, target: str, key: Headers) -> int:
    """The status of a GET whose target goes out byte by byte, as no library would send it."""
    head = "".join(f"{name}: {value}\r\n" for name, value in key.items())
    url = httpx.URL(stack.url)
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\n{head}Connection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1"))
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://2130706433/",
        "http://10.0.0.1/",
        "http://[::ffff:169.254.169.254]/",
        "http://168.63.129.16/",
        "http://0x7f.1/",
    ],
)
def test_an_address_inside_is_refused_when_it_is_registered_and_again_when_it_is_called(
    api: httpx.Client, admin: Headers, stack: Stack, connect: Connect, url: str
):
    """The second half writes past the check at registration: a name may change where it leads to."""
    partner = connect()
    body = {"api_endpoint": url}
    refused(api.patch(partner.path, json=body, headers=admin), 422, "url_not_allowed")
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as database:
        database.execute("UPDATE partners SET api_endpoint = %s WHERE partner_id = %s", (url, partner.id))
    if "2130706433" in url or "0x7f" in url:
        return  # loopback by another name, which this host may call: it runs with ALLOW_LOOPBACK_EGRESS
    refused(api.get(proxy(partner), headers=admin), 502, "egress_denied")
    tested = api.post(f"{partner.path}/test", headers=admin).json()
    assert (tested["ok"], tested["checks"][0]["ok"]) == (False, False)


# ── Partners that misbehave ──────────────────────────────────────────────────────────────────────


def test_a_redirect_is_not_followed(api: httpx.Client, admin: Headers, partner: Connected, shop: Shop, liar: Liar):
    shop.misbehaves(redirect_to=f"{liar.url}/stolen")
    answered = api.get(proxy(partner), headers=admin)
    refused(answered, 502, "upstream_redirected")
    assert ("location" in answered.headers, len(shop.asked()), liar.heard) == (False, 1, [])


def endless(heard: Heard) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    while True:
        yield b" " * MIB


def test_bombs_and_endless_answers_are_cut_and_cost_no_memory(
    api: httpx.Client, admin: Headers, stack: Stack, partner: Connected, shop: Shop, false_friend: Connected, liar: Liar
):
    api.get(proxy(partner), headers=admin).raise_for_status()
    liar.tells(endless)
    refused(api.get(proxy(false_friend), headers=admin), 502, "upstream_too_large")
    host = psutil.Process(stack.host.process.pid)
    before = host.memory_info().rss
    shop.misbehaves(gzip_bomb=256)
    for _ in range(2):
        refused(api.get(proxy(partner), headers=admin), 502, "upstream_too_large")
    with ThreadPoolExecutor(4) as pool:
        for answered in pool.map(lambda _: api.get(proxy(false_friend), headers=admin), range(8)):
            refused(answered, 502, "upstream_too_large")
    assert host.memory_info().rss - before < 96 * MIB


def test_an_answer_of_just_eight_mebibytes_passes(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar
):
    body = b"x" * (8 * MIB)
    liar.tells(answer(200, body))
    assert api.get(proxy(false_friend), headers=admin).content == body
    liar.tells(answer(200, body + b"x"))
    refused(api.get(proxy(false_friend), headers=admin), 502, "upstream_too_large")


def test_an_encoding_that_was_not_asked_for_is_refused(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar
):
    for encoding in ("gzip", "br", "deflate", "gzip, identity", "x-unheard-of"):
        liar.tells(answer(200, b"x", f"Content-Encoding: {encoding}"))
        refused(api.get(proxy(false_friend), headers=admin), 502, "upstream_too_large")
    liar.tells(answer(200, b"x", "Content-Encoding: identity"))
    assert api.get(proxy(false_friend), headers=admin).content == b"x"


def dripping(heard: Heard) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    for _ in range(600):
        time.sleep(0.1)
        yield b"."


def silent(heard: Heard) -> Iterator[bytes]:
    time.sleep(60)
    yield b""


def test_a_dripping_and_a_silent_partner_are_given_up_in_time(
    api: httpx.Client, admin: Headers, false_friend: Connected, partner: Connected, liar: Liar
):
    def mood(heard: Heard) -> Iterator[bytes]:
        return dripping(heard) if heard.target.endswith("drip") else silent(heard)

    liar.tells(mood)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(api.get, proxy(false_friend, mood), headers=admin) for mood in ("drip", "silence")]
        eventually(lambda: len(liar.heard) == 2)
        assert api.get(proxy(partner), headers=admin).status_code == 200
        for each in waiting:
            refused(each.result(), 504, "upstream_timeout")
    assert time.monotonic() - began < 16


@pytest.mark.parametrize("lie", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"])
def test_a_partner_that_does_not_speak_http_is_unreachable(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, lie: bytes
):
    liar.tells(lambda heard: [lie])
    refused(api.get(proxy(false_friend), headers=admin), 502, "upstream_unreachable")
    assert len(liar.heard) == 1


def test_a_partner_that_is_not_there_is_left_alone_after_five_tries_and_others_are_not(
    api: httpx.Client, admin: Headers, connect: Connect, partner: Connected
):
    absent = connect(api_endpoint=f"http://127.0.0.1:{free_port()}")
    for _ in range(5):
        refused(api.get(proxy(absent), headers=admin), 502, "upstream_unreachable")
    left_alone = api.get(proxy(absent), headers=admin)
    refused(left_alone, 503, "upstream_unavailable")
    assert int(left_alone.headers["retry-after"]) >= 1
    assert api.get(proxy(partner), headers=admin).status_code == 200


# ── Trying a partner out ─────────────────────────────────────────────────────────────────────────


def try_out(api: httpx.Client, key: Headers, partner: Connected) -> Json:
    answered = api.post(f"{partner.path}/test", headers=key)
    assert answered.status_code == 200, answered.text
    for check in answered.json()["checks"]:
        assert check.keys() == {"name", "ok", "latency_ms", "detail"}
        assert check["latency_ms"] >= 0
    return answered.json()


def test_trying_a_partner_out_reaches_its_api_and_its_webhook_endpoints(
    api: httpx.Client, partner: Connected, receiver: Receiver
):
    body = {"url": receiver.url, "events": ["order.created"]}
    made = api.post("/api/webhooks/register", json=body, headers=partner.key).json()
    found = try_out(api, partner.key, partner)
    assert found["ok"] is True
    assert [check["name"] for check in found["checks"]] == ["api", f"webhook {made['endpoint_id']}"]
    assert receiver.received() == []


def test_trying_a_partner_out_says_what_is_wrong(api: httpx.Client, admin: Headers, connect: Connect, shop: Shop):
    nobody = f"http://127.0.0.1:{free_port()}"
    cases = {
        "credentials": connect(api_endpoint=f"{shop.endpoint}/orders", credentials={"api_key": "wrong"}),
        "reached": connect(api_endpoint=nobody, credentials=shop.credentials),
        "api_endpoint": connect(),
        "OAuth": connect(api_endpoint=shop.endpoint, auth_method="oauth2"),
    }
    for word, partner in cases.items():
        found = try_out(api, admin, partner)
        assert (found["ok"], found["checks"][0]["ok"]) == (False, False)
        assert word in found["checks"][0]["detail"]
    shop.misbehaves(status=500)
    failing = try_out(api, admin, connect(api_endpoint=f"{shop.endpoint}/orders", credentials=shop.credentials))
    assert (failing["ok"], "500" in failing["checks"][0]["detail"]) == (False, True)


def test_a_partner_is_told_nothing_of_another(api: httpx.Client, connect: Connect, partner: Connected):
    refused(api.post(f"{partner.path}/test", headers=connect().key), 404)
    refused(api.post(f"/api/partners/{uuid4()}/test", headers=partner.key), 404)


def test_trying_out_has_a_limit_of_its_own(api: httpx.Client, connect: Connect):
    partner = connect()
    answers = [api.post(f"{partner.path}/test", headers=partner.key) for _ in range(3)]
    assert [each.headers["x-ratelimit-limit"] for each in answers] == ["30"] * 3
    assert answers[0].headers["x-ratelimit-remaining"] == "29"
    assert api.get("/api/test", headers=partner.key).headers["x-ratelimit-limit"] == "100000"
