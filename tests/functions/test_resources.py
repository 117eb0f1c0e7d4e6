"""Business resources through the gateway: cached reads, writes that happen once, a backend that fails or lies.

Two hosts of this module's own: one over a Xano stand-in that can be told to fail, one over a liar.
"""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from devstack.settings import EVERY_MINUTE
from shared_code.services.backend_answers import MOST_KEPT_BYTES, Kept
from tests import services
from tests.fault_proxy import Heard, Liar, answer, json_answer
from tests.functions.stack import Connect, Connected, Headers, Json, connecting, first_admin, refused
from tests.services import Service, eventually
from tests.shared_servers import ask, new_database

ORDERS, INVENTORY = "/api/v1/orders", "/api/v1/inventory"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running host, its first admin, and its Redis."""

    api: httpx.Client = field(repr=False)
    admin: Headers = field(repr=False)
    redis: Any = field(repr=False)
    """redis.Redis; its types are those of two clients at once."""

    @property
    def connect(self) -> Connect:
        return connecting(self.api, self.admin)

    def settle(self) -> None:
        """A host that is starting, or starved, may have taken Redis for dead; that is over in two seconds."""
        eventually(lambda: "x-pinksync-degraded" not in self.api.get("/api/test", headers=self.admin).headers)

    def age_kept_answers(self) -> None:
        """None of them is fresh any more, as if their time had passed."""
        for name in self.redis.keys("answer:*"):
            old = Kept.from_bytes(self.redis.get(name))
            self.redis.set(name, replace(old, fresh_until=0).to_bytes(), keepttl=True)

    def forget_circuits(self, part: str = "*") -> None:
        for name in self.redis.keys(f"circuit:*:{part}"):
            self.redis.delete(name)


@dataclass(frozen=True, slots=True)
class Xano:
    """The stand-in, from behind the gateway's back."""

    service: Service
    client: httpx.Client = field(repr=False)

    @property
    def control(self) -> str:
        return f"http://{urlsplit(self.service.url).netloc}/_devstack"

    def fails(self, **fault: Any) -> None:
        self.client.put(f"{self.control}/faults", json=fault).raise_for_status()

    def is_well(self) -> None:
        self.client.delete(f"{self.control}/faults").raise_for_status()

    def asked(self, partner: Connected) -> list[Json]:
        """What the gateway asked for this partner, oldest first."""
        every = self.client.get(f"{self.control}/requests").raise_for_status().json()["requests"]
        return [each for each in every if each["headers"].get("x-partner-id") == partner.id and gateways(each)]

    def methods(self, partner: Connected) -> list[str]:
        return [each["method"] for each in self.asked(partner)]

    def add(self, partner: Connected, **row: Any) -> Json:
        return self.do("POST", partner, json=row)

    def rows(self, partner: Connected) -> list[Json]:
        return self.do("GET", partner)

    def do(self, method: str, partner: Connected, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.service.secret}", "X-Partner-Id": partner.id}
        answered = self.client.request(method, f"{self.service.url}/orders", headers=headers, **more)
        return answered.raise_for_status().json()


def gateways(request: Json) -> bool:
    return request["headers"]["user-agent"] == "PinkSync/1"


@pytest.fixture(scope="module")
def xano_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Xano]:
    with services.start_xano(tmp_path_factory.mktemp("xano")) as service, web_client() as client:
        yield Xano(service, client)


@pytest.fixture(scope="module")
def over_xano(tmp_path_factory: pytest.TempPathFactory, xano_server: Xano) -> Iterator[Gateway]:
    service = xano_server.service
    yield from running(tmp_path_factory, XANO_API_URL=service.url, XANO_API_KEY=service.secret)


@pytest.fixture(scope="module")
def over_liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Liar]]:
    with Liar() as liar:
        for gateway in running(tmp_path_factory, XANO_API_URL=f"{liar.url}/api:business"):
            yield gateway, liar


def running(folders: pytest.TempPathFactory, **wired: str) -> Iterator[Gateway]:
    redis_url = ask("redis").url
    quiet = {"OUTBOX_SCHEDULE": EVERY_MINUTE, "RECONCILE_SCHEDULE": EVERY_MINUTE, "RESOURCE_CACHE_SECONDS": "600"}
    with new_database() as database_url, redis.Redis.from_url(redis_url) as client:
        env = services.app_environment(database_url, redis_url, **quiet, **wired)
        admin = {"Authorization": f"Bearer {first_admin(env)}"}
        with services.start_host(folders.mktemp("host"), env) as host, web_client(host.url) as api:
            yield Gateway(api, admin, client)


def web_client(url: str = "") -> httpx.Client:
    return httpx.Client(base_url=url, timeout=20, trust_env=False)


@pytest.fixture
def xano(xano_server: Xano, over_xano: Gateway) -> Iterator[Xano]:
    """In good health before and after the test, and nobody remembers how it was."""
    over_xano.settle()
    yield xano_server
    xano_server.is_well()
    over_xano.forget_circuits()


@pytest.fixture
def gateway(over_xano: Gateway, xano: Xano) -> Gateway:
    return over_xano


@pytest.fixture
def api(gateway: Gateway) -> httpx.Client:
    return gateway.api


@pytest.fixture
def partner(gateway: Gateway) -> Connected:
    """A partner for this test alone, that has not asked anything yet."""
    return gateway.connect()


@pytest.fixture
def liar(over_liar: tuple[Gateway, Liar]) -> Iterator[Liar]:
    yield over_liar[1]
    over_liar[0].forget_circuits()


@pytest.fixture
def misled(over_liar: tuple[Gateway, Liar], liar: Liar) -> "Misled":
    gateway = over_liar[0]
    gateway.settle()
    return Misled(gateway, gateway.connect())


@dataclass(frozen=True, slots=True)
class Misled:
    """A partner of the gateway whose backend is the liar."""

    gateway: Gateway
    partner: Connected

    def read(self, path: str = ORDERS, **headers: str) -> httpx.Response:
        return self.gateway.api.get(path, headers=self.partner.key | headers)

    def kept(self) -> list[bytes]:
        return self.gateway.redis.keys(f"answer:{self.partner.id}:*")

    def ttl(self) -> int:
        """Of its one kept answer."""
        [name] = self.kept()
        return self.gateway.redis.ttl(name)


def cache_uses(api: httpx.Client, partner: Connected, *paths: str) -> list[str]:
    return [api.get(path, headers=partner.key).headers["x-cache"] for path in paths]


# ── Kept reads ───────────────────────────────────────────────────────────────────────────────────


def test_a_read_is_a_miss_and_then_a_hit_with_the_same_answer(api: httpx.Client, partner: Connected, xano: Xano):
    xano.add(partner, number="A-1", total=12.5)
    first, second = (api.get(ORDERS, headers=partner.key) for _ in range(2))
    assert [first.headers["x-cache"], second.headers["x-cache"]] == ["MISS", "HIT"]
    assert [order["number"] for order in first.json()] == ["A-1"]
    assert (second.content, second.headers["etag"]) == (first.content, first.headers["etag"])
    assert second.headers["content-type"] == first.headers["content-type"] == "application/json"
    assert int(second.headers["age"]) >= 0
    assert "private" in first.headers["cache-control"]
    assert xano.methods(partner) == ["GET"]


def test_every_answer_tells_the_callers_limit_and_request_id(api: httpx.Client, partner: Connected):
    for use in ("MISS", "HIT"):
        answer = api.get(ORDERS, headers=partner.key | {"X-Request-Id": f"asked-{use}"})
        assert (answer.headers["x-cache"], answer.headers["x-request-id"]) == (use, f"asked-{use}")
        assert answer.headers["x-ratelimit-limit"] == "100000"


def test_a_caller_that_wants_no_kept_answer_gets_a_new_one_and_leaves_it_for_the_next(
    api: httpx.Client, partner: Connected, xano: Xano
):
    api.get(ORDERS, headers=partner.key)
    xano.add(partner, number="A-1")
    fresh = api.get(ORDERS, headers=partner.key | {"Cache-Control": "no-cache"})
    assert (fresh.headers["x-cache"], len(fresh.json())) == ("BYPASS", 1)
    after = api.get(ORDERS, headers=partner.key)
    assert (after.headers["x-cache"], len(after.json())) == ("HIT", 1)


def test_lists_records_and_queries_have_answers_of_their_own(api: httpx.Client, partner: Connected, xano: Xano):
    row = xano.add(partner, number="A-1")
    paths = [ORDERS, f"{ORDERS}?page=1&per_page=1", f"{ORDERS}?per_page=1&page=1", f"{ORDERS}/{row['id']}", INVENTORY]
    assert cache_uses(api, partner, *paths) == ["MISS"] * 5
    assert cache_uses(api, partner, *paths) == ["HIT"] * 5
    answers = [api.get(path, headers=partner.key).json() for path in paths]
    assert [type(each) for each in answers] == [list, dict, dict, dict, list]
    assert (answers[1]["itemsTotal"], answers[3]["number"], answers[4]) == (1, "A-1", [])


def test_no_two_paths_share_a_kept_answer_however_they_are_spelled(api: httpx.Client, partner: Connected, xano: Xano):
    row = xano.add(partner, number="A-1")
    assert cache_uses(api, partner, f"{ORDERS}/{row['id']}?a=b?") == ["MISS"]
    refused(api.get(f"{ORDERS}/{row['id']}%3Fa=b", headers=partner.key), 400)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_makes_the_next_read_a_miss(api: httpx.Client, partner: Connected, xano: Xano, method: str):
    row = xano.add(partner, number="A-1", total=1)
    both = [ORDERS, f"{ORDERS}/{row['id']}"]
    cache_uses(api, partner, *both)
    assert cache_uses(api, partner, *both) == ["HIT", "HIT"]
    path = ORDERS if method == "POST" else f"{ORDERS}/{row['id']}"
    body = None if method == "DELETE" else {"number": "A-2", "total": 2}
    written = api.request(method, path, json=body, headers=partner.key)
    assert (written.status_code, written.headers["x-cache"]) == (200, "BYPASS")
    after = api.get(ORDERS, headers=partner.key)
    assert after.headers["x-cache"] == "MISS"
    assert after.json() == xano.rows(partner)


def test_a_write_drops_only_its_own_resource_of_its_own_partner(gateway: Gateway, partner: Connected):
    other = gateway.connect()
    for each in (partner, other):
        cache_uses(gateway.api, each, ORDERS, INVENTORY)
    gateway.api.post(ORDERS, json={"number": "A-1"}, headers=partner.key).raise_for_status()
    assert cache_uses(gateway.api, partner, ORDERS, INVENTORY) == ["MISS", "HIT"]
    assert cache_uses(gateway.api, other, ORDERS, INVENTORY) == ["HIT", "HIT"]


def test_a_write_that_failed_drops_the_kept_reads_too(api: httpx.Client, partner: Connected, xano: Xano):
    """Nobody knows how far it came."""
    cache_uses(api, partner, ORDERS)
    xano.fails(drop_after_commit=True, times=1)
    refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 503)
    after = api.get(ORDERS, headers=partner.key)
    assert (after.headers["x-cache"], len(after.json())) == ("MISS", 1)


def test_another_partner_never_gets_a_kept_answer(gateway: Gateway, partner: Connected, xano: Xano):
    other = gateway.connect()
    row = xano.add(partner, number="A-1")
    paths = [ORDERS, f"{ORDERS}?page=1", f"{ORDERS}/{row['id']}"]
    cache_uses(gateway.api, partner, *paths)
    assert cache_uses(gateway.api, partner, *paths) == ["HIT"] * 3
    posing = other.key | {"X-Partner-Id": partner.id, "X-Partner": partner.id}
    answers = [gateway.api.get(path, headers=posing) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert (answers[0].headers["x-cache"], answers[0].json(), answers[1].json()["items"]) == ("MISS", [], [])


def test_errors_are_not_kept(api: httpx.Client, partner: Connected, xano: Xano):
    number = xano.add(partner, number="A-1")["id"] + 1
    for _ in range(2):
        refused(api.get(f"{ORDERS}/{number}", headers=partner.key), 404)
    assert xano.add(partner, number="A-2")["id"] == number
    found = api.get(f"{ORDERS}/{number}", headers=partner.key)
    assert (found.status_code, found.headers["x-cache"]) == (200, "MISS")


def test_who_has_the_answer_already_gets_304_from_the_backend_and_from_the_cache(
    api: httpx.Client, partner: Connected, xano: Xano
):
    xano.add(partner, number="A-1")
    etag = api.get(ORDERS, headers=partner.key).headers["etag"]
    spellings = [etag, f"W/{etag}", f'"other", {etag}', "*"]
    for spelling in spellings:
        for fresh, use in ({}, "HIT"), ({"Cache-Control": "no-cache"}, "BYPASS"):
            answer = api.get(ORDERS, headers=partner.key | {"If-None-Match": spelling} | fresh)
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
            assert answer.headers["x-cache"] == use
    assert api.get(ORDERS, headers=partner.key | {"If-None-Match": '"other"'}).status_code == 200
    xano.add(partner, number="A-2")
    changed = api.get(ORDERS, headers=partner.key | {"If-None-Match": etag, "Cache-Control": "no-cache"})
    assert (changed.status_code, len(changed.json())) == (200, 2)
    refused(api.get(f"{ORDERS}/999999", headers=partner.key | {"If-None-Match": "*"}), 404)


def test_fifty_who_miss_at_once_cost_the_backend_next_to_nothing(api: httpx.Client, partner: Connected, xano: Xano):
    xano.add(partner, number="A-1")
    api.get("/api/test", headers=partner.key).raise_for_status()  # the key is proven: now all come through at once
    xano.fails(latency_ms=500)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: api.get(ORDERS, headers=partner.key), range(50)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert len(answers[0].json()) == 1
    assert len(xano.asked(partner)) <= 5


# ── Who may, and where to ────────────────────────────────────────────────────────────────────────


def test_reading_and_writing_each_need_their_scope(gateway: Gateway):
    reader = gateway.connect(scopes=["read:orders"])
    assert gateway.api.get(ORDERS, headers=reader.key).status_code == 200
    problem = refused(gateway.api.get(INVENTORY, headers=reader.key), 403, "insufficient_scope")
    assert (problem["required_scope"], "read:inventory" in problem["detail"]) == ("read:inventory", True)
    for method, path in ("POST", ORDERS), ("PUT", f"{ORDERS}/1"), ("PATCH", f"{ORDERS}/1"), ("DELETE", f"{ORDERS}/1"):
        problem = refused(gateway.api.request(method, path, headers=reader.key), 403, "insufficient_scope")
        assert problem["required_scope"] == "write:orders"


def test_writing_does_not_include_reading(gateway: Gateway):
    writer = gateway.connect(scopes=["write:*"])
    assert gateway.api.post(ORDERS, json={"number": "A-1"}, headers=writer.key).status_code == 200
    assert refused(gateway.api.get(ORDERS, headers=writer.key), 403)["required_scope"] == "read:orders"


@pytest.mark.parametrize("resource", ["customers", "ORDERS", "order", "orders%2F1", "_devstack", ".."])
def test_a_resource_that_is_not_listed_is_not_found_and_the_backend_is_not_asked(
    api: httpx.Client, partner: Connected, xano: Xano, resource: str
):
    refused(api.get(f"/api/v1/{resource}", headers=partner.key), 404)
    refused(api.post(f"/api/v1/{resource}", json={}, headers=partner.key), 404)
    assert xano.asked(partner) == []


@pytest.mark.parametrize("item", ["%2e%2e", "%2E", "..%2Finventory", "%2e%2e%2finventory", "1%2F..%2F..%2Finventory"])
def test_an_id_stays_one_segment_whatever_it_says(api: httpx.Client, partner: Connected, xano: Xano, item: str):
    assert as_it_is(api, f"{ORDERS}/{item}", partner) in (400, 404)
    assert not [each for each in xano.asked(partner) if not each["path"].startswith("/api:business/orders/")]


@pytest.mark.parametrize(
    "target", ["?a=\xe9", "/1?a=\xe9\xff", "?a=\x7f", "?a=%00%ff", "/%00", "/%ff", "?" + "x" * 70_000]
)
def test_no_spelling_of_a_path_or_query_is_too_much(api: httpx.Client, partner: Connected, target: str):
    assert as_it_is(api, ORDERS + target, partner) < 500


def as_it_is(api: httpx.Client, target: str, partner: Connected) -> int:
    """The status of a GET whose target goes out byte by byte, as no library would send it."""
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {partner.api_key}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=20) as connection:
        connection.sendall(request.encode("latin-1"))
        return int(connection.makefile("rb").readline().split()[1])


def test_a_key_of_the_house_must_name_the_partner_it_acts_for(gateway: Gateway, partner: Connected, xano: Xano):
    for header in ({}, {"X-Partner-Id": ""}, {"X-Partner-Id": "corner-shop"}):
        assert "X-Partner-Id" in refused(gateway.api.get(ORDERS, headers=gateway.admin | header), 400)["detail"]
    acting = gateway.admin | {"X-Partner-Id": partner.id}
    cache_uses(gateway.api, partner, ORDERS)
    assert gateway.api.post(ORDERS, json={"number": "A-1"}, headers=acting).status_code == 200
    assert xano.rows(partner)[0]["partner_id"] == partner.id
    assert cache_uses(gateway.api, partner, ORDERS) == ["MISS"]
    for _ in range(2):
        read = gateway.api.get(ORDERS, headers=acting)
        assert (read.headers["x-cache"], len(read.json())) == ("BYPASS", 1)


def test_a_key_of_the_house_that_is_no_admin_acts_for_nobody(gateway: Gateway, partner: Connected):
    body = {"name": "reporting", "scopes": ["read:*", "write:*"]}
    made = gateway.api.post("/api/keys", json=body, headers=gateway.admin).json()
    acting = {"X-API-Key": made["api_key"], "X-Partner-Id": partner.id}
    refused(gateway.api.get(ORDERS, headers=acting), 404)
    refused(gateway.api.post(ORDERS, json={"number": "A-1"}, headers=acting), 404)


# ── What reaches the backend ─────────────────────────────────────────────────────────────────────


def test_the_backend_learns_who_asks_and_never_the_key_that_was_shown(gateway: Gateway, partner: Connected, xano: Xano):
    other = gateway.connect()
    headers = partner.key | {
        "X-Request-Id": "trace-7",
        "X-Partner-Id": other.id,
        "Cookie": "session=1",
        "X-Forwarded-For": "203.0.113.9",
        "X-Data-Source": "test",
    }
    gateway.api.get(ORDERS, headers=headers).raise_for_status()
    gateway.api.post(ORDERS, json={"number": "A-1"}, headers=headers | {"X-API-Key": partner.api_key})
    assert xano.asked(other) == []
    asked = xano.asked(partner)
    assert [each["headers"]["x-request-id"] for each in asked] == ["trace-7", "trace-7"]
    for each in asked:
        assert partner.api_key not in json.dumps(each)
        assert each["headers"]["authorization"] == "Bearer ***"
        assert not {"cookie", "x-api-key", "x-forwarded-for", "x-data-source"} & each["headers"].keys()


def test_query_and_body_arrive_as_they_were_sent(api: httpx.Client, partner: Connected, xano: Xano):
    query = "page=1&per_page=5&tag[]=a&tag[]=b&name=caf%C3%A9+x&empty=&%20=%2B"
    api.get(f"{ORDERS}?{query}", headers=partner.key).raise_for_status()
    body = '{"number": "A-1",  "total": 1.10, "items": [{"b": 1e2, "a": "é"}], "unknown": null}'.encode()
    json_headers = partner.key | {"Content-Type": "application/json; charset=utf-8"}
    made = api.post(ORDERS, content=body, headers=json_headers)
    read, written = xano.asked(partner)
    assert (read["query"], written["body"].encode()) == (query, body)
    assert made.content == json.dumps(made.json(), separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/json", b"{", 400),
        ("application/json", b'{"a": 1, "a": 2}', 400),
        ("application/json", b'{"a": NaN}', 400),
        ("application/json", b"[" * 40 + b"]" * 40, 400),
        ("application/json", b'{"a": "\xff"}', 400),
        ("application/json", b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_a_body_that_is_not_sound_json_never_reaches_the_backend(
    api: httpx.Client, partner: Connected, xano: Xano, content_type: str, body: bytes, status: int
):
    headers = partner.key | {"Content-Type": content_type}
    refused(api.post(ORDERS, content=body, headers=headers), status)
    refused(api.put(f"{ORDERS}/1", content=body, headers=headers), status)
    assert xano.asked(partner) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_header_that_cannot_be_passed_on_is_the_callers_fault(api: httpx.Client, partner: Connected, method: str):
    headers = {name.encode(): value.encode() for name, value in partner.key.items()}
    strange = headers | {b"Idempotency-Key": "käse".encode(), b"If-None-Match": "é".encode()}
    assert api.request(method, f"{ORDERS}/1", headers=strange).status_code in (400, 404)


# ── Xano's ways to fail ──────────────────────────────────────────────────────────────────────────


def test_what_xano_says_of_a_bad_input_is_a_400_that_names_it(api: httpx.Client, partner: Connected):
    problem = refused(api.post(ORDERS, json={"total": 1}, headers=partner.key), 400, "bad_request")
    assert problem["detail"] == "Missing param: number"
    assert problem["backend"] == {
        "code": "ERROR_CODE_INPUT_ERROR",
        "message": "Missing param: number",
        "payload": {"param": "number"},
    }


def test_what_xano_does_not_find_is_a_404(api: httpx.Client, partner: Connected):
    problem = refused(api.get(f"{ORDERS}/999999", headers=partner.key), 404, "not_found")
    assert problem["backend"]["code"] == "ERROR_CODE_NOT_FOUND"


def test_a_duplicate_is_a_409_though_xano_calls_it_fatal(api: httpx.Client, partner: Connected):
    api.post(ORDERS, json={"number": "A-1"}, headers=partner.key).raise_for_status()
    refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 409, "conflict")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 500}, 502, "backend_failed"),
        ({"unauthorized": True}, 502, "backend_failed"),
        ({"status": 403}, 502, "backend_failed"),
        ({"status": 502, "html": True}, 503, "backend_unavailable"),
        ({"status": 503, "html": True}, 503, "backend_unavailable"),
        ({"connection_lost": True}, 503, "backend_unavailable"),
        ({"drop_after_commit": True}, 503, "backend_unavailable"),
        ({"truncated_json": True}, 502, "backend_failed"),
    ],
)
def test_each_of_xanos_failures_has_its_problem_and_says_nothing_of_the_inside(
    api: httpx.Client, partner: Connected, xano: Xano, fault: Json, status: int, code: str
):
    """A write: it is tried once, whatever comes."""
    row = xano.add(partner, number="A-1")
    xano.fails(**fault)
    answer = api.patch(f"{ORDERS}/{row['id']}", json={"total": 2}, headers=partner.key)
    refused(answer, status, code)
    for inside in ("A fault was switched on", "ERROR_FATAL", "Connection lost", "nginx", "Unauthorized", xano.control):
        assert inside not in answer.text
    assert status != 503 or int(answer.headers["retry-after"]) >= 1
    assert xano.methods(partner) == ["PATCH"]


def test_a_read_that_xano_garbles_is_a_502_and_is_not_kept(api: httpx.Client, partner: Connected, xano: Xano):
    xano.add(partner, number="A-1")
    xano.fails(truncated_json=True)
    refused(api.get(ORDERS, headers=partner.key), 502, "backend_failed")
    xano.is_well()
    after = api.get(ORDERS, headers=partner.key)
    assert (after.headers["x-cache"], len(after.json())) == ("MISS", 1)


@pytest.mark.parametrize(
    "fault", [{"status": 502, "html": True}, {"connection_lost": True}, {"drop_after_commit": True}]
)
def test_a_read_is_tried_again_when_the_failure_can_pass(
    api: httpx.Client, partner: Connected, xano: Xano, fault: Json
):
    xano.fails(**fault, times=1)
    assert api.get(ORDERS, headers=partner.key).status_code == 200
    assert xano.methods(partner) == ["GET", "GET"]


def test_a_read_is_not_tried_again_when_that_cannot_help(api: httpx.Client, partner: Connected, xano: Xano):
    xano.fails(status=500)
    refused(api.get(ORDERS, headers=partner.key), 502)
    assert xano.methods(partner) == ["GET"]


def test_when_xano_asks_for_a_pause_so_does_the_gateway(api: httpx.Client, partner: Connected, xano: Xano):
    xano.fails(rate_limit=True)
    answers = [api.get(f"{ORDERS}?page={page}", headers=partner.key) for page in range(1, 13)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [503] * 2
    refused(answers[-1], 503, "backend_unavailable")
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "Whoa" not in answers[-1].text


def test_a_slow_xano_is_a_504_within_the_time_that_a_call_has(api: httpx.Client, partner: Connected, xano: Xano):
    api.get("/api/test", headers=partner.key).raise_for_status()
    xano.fails(latency_ms=15_000)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(api.get, ORDERS, headers=partner.key)
        write = pool.submit(api.post, INVENTORY, json={"sku": "S-1"}, headers=partner.key)
        for answer in (read.result(), write.result()):
            refused(answer, 504, "backend_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - began < 12
    assert sorted(xano.methods(partner)) == ["GET", "POST"]


def test_a_write_whose_answer_is_lost_happened_once(api: httpx.Client, partner: Connected, xano: Xano):
    xano.fails(drop_after_commit=True)
    refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 503, "backend_unavailable")
    assert xano.methods(partner) == ["POST"]
    xano.is_well()
    assert [row["number"] for row in xano.rows(partner)] == ["A-1"]


# ── Idempotency-Key ──────────────────────────────────────────────────────────────────────────────


def test_the_same_post_again_gets_the_stored_answer(api: httpx.Client, partner: Connected, xano: Xano):
    once = partner.key | {"Idempotency-Key": "order-1"}
    first, again = (api.post(ORDERS, json={"number": "A-1"}, headers=once) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert "idempotency-replayed" not in first.headers
    refused(api.post(ORDERS, json={"number": "A-2"}, headers=once), 422, "idempotency_key_reused")
    assert len(xano.rows(partner)) == 1
    assert [each["headers"]["idempotency-key"] for each in xano.asked(partner)] == ["order-1"]


def test_partners_may_use_the_same_idempotency_key(gateway: Gateway, partner: Connected, xano: Xano):
    other = gateway.connect()
    for each in (partner, other):
        made = gateway.api.post(ORDERS, json={"number": "A-1"}, headers=each.key | {"Idempotency-Key": "order-1"})
        assert made.json()["partner_id"] == each.id


def test_a_failure_is_not_stored_under_the_idempotency_key(api: httpx.Client, partner: Connected, xano: Xano):
    once = partner.key | {"Idempotency-Key": "order-1"}
    xano.fails(status=502, html=True, times=1)
    refused(api.post(ORDERS, json={"number": "A-1"}, headers=once), 503)
    again = api.post(ORDERS, json={"number": "A-1"}, headers=once)
    assert (again.status_code, "idempotency-replayed" in again.headers) == (200, False)


def test_one_idempotency_key_of_the_house_for_two_partners_is_two_requests(
    gateway: Gateway, partner: Connected, xano: Xano
):
    other = gateway.connect()
    acting = gateway.admin | {"Idempotency-Key": f"for-{partner.id}"}
    first = gateway.api.post(ORDERS, json={"number": "A-1"}, headers=acting | {"X-Partner-Id": partner.id})
    second = gateway.api.post(ORDERS, json={"number": "A-1"}, headers=acting | {"X-Partner-Id": other.id})
    assert first.json()["partner_id"] == partner.id
    assert second.status_code == 422 or second.json()["partner_id"] == other.id


def test_slow_posts_with_idempotency_keys_do_not_keep_others_from_the_database(
    gateway: Gateway, partner: Connected, xano: Xano
):
    gateway.api.get("/api/test", headers=partner.key).raise_for_status()
    xano.fails(latency_ms=3500)

    def post(number: int) -> httpx.Response:
        headers = partner.key | {"Idempotency-Key": f"order-{number}"}
        return gateway.api.post(ORDERS, json={"number": f"A-{number}"}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        posts = [pool.submit(post, number) for number in range(8)]
        eventually(lambda: len(xano.asked(partner)) >= 4)
        other = gateway.api.get("/api/partners", headers=gateway.admin)
        for each in posts:
            each.result()
    assert other.status_code == 200


# ── A backend that is gone ───────────────────────────────────────────────────────────────────────


def test_the_circuit_opens_refuses_at_once_and_closes_again(
    gateway: Gateway, api: httpx.Client, partner: Connected, xano: Xano
):
    xano.fails(status=502, html=True)
    for _ in range(5):
        refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 503)
    before = len(xano.asked(partner))
    took: list[float] = []
    for _ in range(10):
        began = time.monotonic()
        answered = api.get(ORDERS, headers=partner.key)
        took.append(time.monotonic() - began)
        refused(answered, 503, "backend_unavailable")
        assert int(answered.headers["retry-after"]) >= 1
    assert min(took) < 0.05
    assert len(xano.asked(partner)) == before
    assert api.get("/api/test", headers=partner.key).status_code == 200

    xano.is_well()
    gateway.forget_circuits("resting")  # its fifteen seconds are over
    assert api.get(ORDERS, headers=partner.key).status_code == 200
    assert [api.get(f"{ORDERS}?page={page}", headers=partner.key).status_code for page in (1, 2, 3)] == [200] * 3


def test_an_open_circuit_lets_one_probe_through_and_rests_again_when_it_fails(
    gateway: Gateway, api: httpx.Client, partner: Connected, xano: Xano
):
    xano.fails(status=502, html=True)
    for _ in range(5):
        api.post(ORDERS, json={"number": "A-1"}, headers=partner.key)
    gateway.forget_circuits("resting")
    before = len(xano.asked(partner))
    for _ in range(5):
        refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 503)
    assert len(xano.asked(partner)) - before == 1


def test_refusals_of_single_requests_do_not_open_the_circuit(api: httpx.Client, partner: Connected, xano: Xano):
    for _ in range(8):
        refused(api.post(ORDERS, json={}, headers=partner.key), 400)
    xano.fails(status=500, times=8)
    for _ in range(8):
        refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 502)
    assert api.get(ORDERS, headers=partner.key).status_code == 200


def test_with_xano_killed_kept_reads_are_served_stale_and_only_misses_fail(
    gateway: Gateway, api: httpx.Client, partner: Connected, xano: Xano
):
    xano.add(partner, number="A-1")
    before = api.get(ORDERS, headers=partner.key)
    fresh = api.get(f"{ORDERS}?page=1", headers=partner.key)
    xano.service.kill()
    try:
        assert api.get(f"{ORDERS}?page=1", headers=partner.key).headers["x-cache"] == "HIT"
        gateway.age_kept_answers()
        stale = api.get(ORDERS, headers=partner.key)
        assert (stale.status_code, stale.headers["x-cache"], stale.content) == (200, "STALE", before.content)
        known = api.get(f"{ORDERS}?page=1", headers=partner.key | {"If-None-Match": fresh.headers["etag"]})
        assert (known.status_code, known.headers["x-cache"]) == (304, "STALE")
        for _ in range(5):
            refused(api.delete(f"{INVENTORY}/1", headers=partner.key), 503, "backend_unavailable")
        refused(api.get(INVENTORY, headers=partner.key), 503, "backend_unavailable")
        assert cache_uses(api, partner, ORDERS) == ["STALE"]
        assert api.get("/api/test", headers=partner.key).status_code == 200
    finally:
        xano.service.start()
    gateway.forget_circuits("resting")
    assert eventually(lambda: api.get(INVENTORY, headers=partner.key).status_code == 200)
    assert cache_uses(api, partner, ORDERS) == ["MISS"]


def test_a_conflict_at_the_backend_is_a_conflict_here(misled: Misled, liar: Liar):
    liar.tells(json_answer(b'{"message": "It was changed meanwhile."}', status=409))
    problem = refused(misled.gateway.api.put(f"{ORDERS}/1", json={}, headers=misled.partner.key), 409, "conflict")
    assert problem["detail"] == "It was changed meanwhile."


# ── A backend that lies ──────────────────────────────────────────────────────────────────────────

MINE = b'[{"number": "mine"}]'


@pytest.mark.parametrize(
    "headers",
    [
        ["Cache-Control: private"],
        ["Cache-Control: PRIVATE, max-age=600"],
        ['Cache-Control: private="x-thing", max-age=600'],
        ["Cache-Control: no-store"],
        ["Cache-Control: no-cache"],
        ["Cache-Control: public, max-age=0"],
        ["Cache-Control: max-age=600, s-maxage=0"],
        ["Cache-Control: max-age=600", "Cache-Control: private"],
        ["Set-Cookie: session=of-another; Path=/"],
        ["Cache-Control: public, max-age=600", "Set-Cookie: session=of-another"],
    ],
)
def test_what_the_backend_forbids_to_keep_is_never_kept(misled: Misled, liar: Liar, headers: list[str]):
    liar.tells(json_answer(MINE, *headers))
    answers = [misled.read() for _ in range(3)]
    assert [(answer.status_code, answer.headers["x-cache"]) for answer in answers] == [(200, "BYPASS")] * 3
    assert len(liar.heard) == 3
    assert not any("set-cookie" in answer.headers for answer in answers)
    assert misled.kept() == []


@pytest.mark.parametrize("status", [201, 202, 203, 206, 299])
def test_only_a_plain_200_is_kept(misled: Misled, liar: Liar, status: int):
    liar.tells(json_answer(MINE, "Cache-Control: max-age=600", status=status))
    assert [misled.read().headers["x-cache"] for _ in range(2)] == ["BYPASS"] * 2
    assert misled.read().status_code == status


def test_an_answer_is_kept_as_long_as_the_backend_says(misled: Misled, liar: Liar):
    liar.tells(json_answer(MINE, "Cache-Control: max-age=2"))
    assert [misled.read().headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert eventually(lambda: misled.read().headers["x-cache"] == "MISS", 10)
    liar.tells(json_answer(MINE, "Cache-Control: max-age=0, s-maxage=600"))
    assert [misled.read(INVENTORY).headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("seconds", ["99999999999999999999", "9" * 5000, "²", "-5", "soon", ""])
def test_a_lifetime_that_makes_no_sense_harms_nobody(misled: Misled, liar: Liar, seconds: str):
    liar.tells(json_answer(MINE, f"Cache-Control: max-age={seconds}"))
    answers = [misled.read() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert not any("x-pinksync-degraded" in answer.headers for answer in answers)


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate"])
def test_what_must_be_asked_for_again_is_gone_when_it_is_no_longer_fresh(misled: Misled, liar: Liar, directive: str):
    liar.tells(json_answer(MINE, f"Cache-Control: max-age=600, {directive}"))
    assert [misled.read().headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert 0 < misled.ttl() <= 600


def test_no_kept_answer_outlives_the_memory_of_what_was_dropped(misled: Misled, liar: Liar):
    """A write is remembered for a day; what was kept before it must be gone by then."""
    liar.tells(json_answer(MINE, "Cache-Control: max-age=31536000"))
    misled.read()
    assert 0 < misled.ttl() < 86_400


def test_a_large_answer_is_passed_on_whole_and_not_kept(misled: Misled, liar: Liar):
    large = json.dumps(["x" * MOST_KEPT_BYTES]).encode()
    liar.tells(json_answer(large))
    for _ in range(2):
        answer = misled.read()
        assert (answer.headers["x-cache"], answer.content == large) == ("BYPASS", True)
        assert "x-pinksync-degraded" not in answer.headers


def test_the_backends_own_etag_is_the_one_that_counts(misled: Misled, liar: Liar):
    liar.tells(json_answer(MINE, 'ETag: W/"v7"', "Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT", "X-Secret: inside"))
    first, second = misled.read(), misled.read()
    for each in (first, second):
        assert (each.headers["etag"], "x-secret" in each.headers) == ('W/"v7"', False)
        assert each.headers["last-modified"] == "Sat, 21 Nov 2026 10:00:00 GMT"
    assert misled.read(**{"If-None-Match": '"v7"'}).status_code == 304


def test_a_read_after_a_write_never_shares_a_call_that_began_before_it(misled: Misled, liar: Liar):
    """The old read is still under way when the write is done; who reads then must see what was written."""
    rows = [b'["old"]']

    def tell(heard: Heard) -> Iterator[bytes]:
        body = rows[0]
        if heard.method == "GET" and body == b'["old"]':
            time.sleep(1.5)
        if heard.method == "POST":
            rows[0] = b'["new"]'
        yield from json_answer(body)(heard)

    misled.gateway.api.get("/api/test", headers=misled.partner.key).raise_for_status()
    liar.tells(tell)
    with ThreadPoolExecutor(1) as pool:
        old = pool.submit(misled.read)
        eventually(lambda: liar.heard)
        misled.gateway.api.post(ORDERS, json={}, headers=misled.partner.key).raise_for_status()
        assert misled.read().json() == ["new"]
        assert old.result().json() == ["old"]
    assert misled.read().json() == ["new"]


@pytest.mark.parametrize("status", [301, 302, 307, 304])
def test_a_redirect_is_followed_nowhere_and_told_to_nobody(misled: Misled, liar: Liar, status: int):
    liar.tells(answer(status, b"", f"Location: {liar.url}/elsewhere"))
    answered = misled.read()
    refused(answered, 502, "backend_failed")
    assert (len(liar.heard), "location" in answered.headers) == (1, False)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_is_shorter_than_promised_is_no_answer(misled: Misled, liar: Liar, method: str):
    liar.tells(answer(200, b'["half', "Content-Type: application/json", length=500))
    answered = misled.gateway.api.request(method, ORDERS, headers=misled.partner.key)
    refused(answered, 503, "backend_unavailable")
    assert len(liar.heard) == (3 if method == "GET" else 1)


@pytest.mark.parametrize(
    "lie",
    [
        json_answer(b'{"number": '),
        json_answer(b"\xff\xfe"),
        json_answer(b"<html>", status=500),
        json_answer(b"null", status=599),
        json_answer(b'{"message": {"not": "a text"}, "code": 7}', status=500),
        json_answer(b"this is not gzip at all", "Content-Encoding: gzip"),
        answer(999, b"{}"),
    ],
)
def test_nonsense_is_a_problem_of_the_backends(misled: Misled, liar: Liar, lie: Any):
    liar.tells(lie)
    problem = misled.read().json()
    assert (problem["status"], problem["code"]) in ((502, "backend_failed"), (503, "backend_unavailable"))


@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_answer_is_passed_on_and_not_kept(misled: Misled, liar: Liar, status: int):
    liar.tells(json_answer(b"", status=status))
    answers = [misled.read() for _ in range(2)]
    assert [(each.status_code, each.content, each.headers["x-cache"]) for each in answers] == [
        (status, b"", "BYPASS")
    ] * 2


@pytest.mark.parametrize("header", ['ETag: "caf\xe9"', "Link: <\xe9>", "X-Total-Count: \xb2", "X-Other: \xe9"])
def test_headers_that_are_not_ascii_do_not_break_the_answer(misled: Misled, liar: Liar, header: str):
    liar.tells(json_answer(MINE, header))
    assert [misled.read().status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("body", [b"<html>gone</html>", b"", b"[1]", b'{"message": null, "code": {}}'])
def test_a_refusal_in_any_words_keeps_its_meaning(misled: Misled, liar: Liar, body: bytes):
    liar.tells(json_answer(body, status=404))
    refused(misled.read(), 404, "not_found")
    liar.tells(json_answer(body, status=422))
    refused(misled.read(), 400, "bad_request")


def test_what_xano_says_of_its_own_crash_stays_inside(misled: Misled, liar: Liar):
    liar.tells(json_answer(b'{"code": "ERROR_FATAL", "message": "boom at /srv/app.py line 7"}', status=500))
    answered = misled.read()
    refused(answered, 502, "backend_failed")
    assert "boom" not in answered.text
    assert len(liar.heard) == 1
