"""The example partner: its REST API behaves as partners' do, and its webhook receiver as the contract says."""

import asyncio
import base64
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from svix.webhooks import Webhook

from devstack.partner.app import build
from devstack.partner.database import open_database
from devstack.partner.hooks import HookSettings
from devstack.partner.inbox import Inbox, Received
from devstack.partner.webhooks import genuine
from devstack.serving import CannotStart, data_folder

ROOT = Path(__file__).parents[2]
KEY = "a-partner-key"
SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes, ok").decode()
MEMORY = Path(":memory:")


def client_of(database: sqlite3.Connection) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build(database, KEY))
    return httpx.AsyncClient(transport=transport, base_url="http://partner.test", headers={"X-API-Key": KEY})


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    database = open_database(MEMORY)
    yield database
    database.close()


@pytest.fixture
async def partner(database: sqlite3.Connection) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(database) as client:
        yield client


async def seed(partner: httpx.AsyncClient, **records: int) -> None:
    assert (await partner.put("/_devstack/seed", json=records)).status_code == 200


async def touch(partner: httpx.AsyncClient, resource: str, *ids: int) -> None:
    answer = await partner.put("/_devstack/touch", json={"resource": resource, "ids": ids})
    assert answer.status_code == 200, answer.text


async def fault(partner: httpx.AsyncClient, **kind: Any) -> None:
    answer = await partner.put("/_devstack/faults", json=kind)
    assert answer.status_code == 200, answer.text


# Who may ask


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"X-API-Key": KEY}, {}),
        ({}, {"api_key": KEY}),
        ({"Authorization": f"Bearer {KEY}"}, {}),
        ({"Authorization": "Basic " + base64.b64encode(f"pinksync:{KEY}".encode()).decode()}, {}),
    ],
)
async def test_the_key_may_be_shown_in_four_ways(
    partner: httpx.AsyncClient, headers: dict[str, str], query: dict[str, str]
) -> None:
    del partner.headers["X-API-Key"]
    answer = await partner.get("/api/orders", headers=headers, params=query)
    assert answer.status_code == 200
    assert KEY not in answer.headers["Link"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic " + base64.b64encode(f"root:{KEY}".encode()).decode()},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic /////w=="},
        {"Authorization": KEY},
    ],
)
async def test_anything_else_is_a_401_with_a_challenge(partner: httpx.AsyncClient, headers: dict[str, str]) -> None:
    del partner.headers["X-API-Key"]
    for path in ("/api/orders", "/api/orders/1", "/api/nothing"):
        answer = await partner.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_the_log_shows_requests_but_not_the_partners_own_key(partner: httpx.AsyncClient) -> None:
    basic = httpx.BasicAuth("pinksync", KEY)
    await partner.get("/api/orders", params={"api_key": KEY}, auth=basic, headers={"X-Request-Id": "r-1"})
    text = (await partner.get("/_devstack/requests")).text
    assert KEY not in text
    assert base64.b64encode(f"pinksync:{KEY}".encode()).decode() not in text
    assert '"x-request-id":"r-1"' in text


# Records


async def test_the_default_is_250_records_each_and_they_never_differ(partner: httpx.AsyncClient) -> None:
    assert (await partner.get("/_devstack/health")).json()["records"] == {"orders": 250, "inventory": 250}
    order = (await partner.get("/api/orders/7")).json()
    assert order["number"] == "ORD-0000007"
    assert order["updated_at"] == "2026-01-01T00:00:01.000Z"
    lines = sum(round(line["quantity"] * line["unit_price"] * 100) for line in order["items"])
    assert order["total"] == lines / 100
    stock = (await partner.get("/api/inventory/250")).json()
    assert (stock["sku"], type(stock["quantity"])) == ("SKU-0000250", int)


async def test_a_million_records_cost_nothing_until_they_are_read(partner: httpx.AsyncClient) -> None:
    await seed(partner, orders=1_000_000)
    page = (await partner.get("/api/orders", params={"offset": 999_998, "limit": 10})).json()
    assert [order["id"] for order in page["data"]] == [999_999, 1_000_000]
    assert page["total"] == 1_000_000
    since = page["data"][0]["updated_at"]
    newest = (await partner.get("/api/orders", params={"updated_since": since})).json()
    assert newest["total"] < 10


async def test_records_can_be_added_replaced_patched_and_deleted(partner: httpx.AsyncClient) -> None:
    made = await partner.post("/api/orders", json={"number": "N", "total": 1, "id": 5, "created_at": "x"})
    assert (made.status_code, made.headers["Location"]) == (201, "/api/orders/251")
    assert (made.json()["id"], made.json()["total"]) == (251, 1)
    patched = await partner.patch("/api/orders/251", json={"total": 2})
    assert patched.json() == made.json() | {"total": 2, "updated_at": patched.json()["updated_at"]}
    put = await partner.put("/api/orders/3", json={"number": "M"})
    assert set(put.json()) == {"id", "number", "created_at", "updated_at"}
    assert (await partner.get("/api/orders/3")).json() == put.json()
    assert (await partner.delete("/api/orders/3")).status_code == 204
    assert [(await partner.request(verb, "/api/orders/3")).status_code for verb in ("GET", "DELETE")] == [404, 404]
    assert (await partner.get("/api/orders")).json()["total"] == 250


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/api/orders", "{", 400),
        ("POST", "/api/orders", "[]", 422),
        ("POST", "/api/orders", '{"number": ""}', 422),
        ("PATCH", "/api/inventory/1", '{"sku": 5}', 422),
        ("PUT", "/api/orders/251", '{"number": "1"}', 404),
        ("GET", "/api/orders/x", "", 404),
        ("GET", "/api/customers", "", 404),
        ("GET", "/api/orders/1/lines", "", 404),
        ("POST", "/api/orders", " " * 1_048_577, 413),
    ],
)
async def test_a_bad_request_is_refused(
    partner: httpx.AsyncClient, method: str, path: str, content: str, status: int
) -> None:
    answer = await partner.request(method, path, content=content)
    assert answer.status_code == status
    assert answer.json()["error"]


async def test_a_wrong_method_is_told_the_right_ones(partner: httpx.AsyncClient) -> None:
    answer = await partner.put("/api/orders", json={})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_a_touched_record_is_changed_now(partner: httpx.AsyncClient) -> None:
    before = (await partner.get("/api/inventory/5")).json()
    start = datetime.now(UTC) - timedelta(milliseconds=1)
    await touch(partner, "inventory", 5, 5)
    after = (await partner.get("/api/inventory/5")).json()
    assert after["quantity"] == before["quantity"] + 1
    assert datetime.fromisoformat(after["updated_at"]) >= start
    unknown = await partner.put("/_devstack/touch", json={"resource": "orders", "ids": [1, 251]})
    assert (unknown.status_code, unknown.json()["error"]) == (422, "ids: orders has no record 251")


async def test_updated_since_is_inclusive(partner: httpx.AsyncClient) -> None:
    async def since(moment: str) -> list[int]:
        answer = await partner.get("/api/orders", params={"updated_since": moment, "per_page": 1000})
        return [order["id"] for order in answer.json()["data"]]

    at = (await partner.get("/api/orders/100")).json()["updated_at"]
    assert await since(at) == list(range(100, 251))
    assert await since(at.replace(".000Z", ".001+00:00")) == list(range(104, 251))
    await touch(partner, "orders", 3, 150)
    touched_at = (await partner.get("/api/orders/3")).json()["updated_at"]
    assert await since(touched_at) == [3, 150]
    assert await since(at) == [3, *range(100, 251)]
    assert await since("2026-01-01") == list(range(1, 251))
    assert (await partner.get("/api/orders", params={"updated_since": "lately"})).status_code == 400


# Paging

Fetch = Callable[[str, dict[str, Any]], Any]


async def by_page(partner: httpx.AsyncClient, size: int, query: dict[str, Any]) -> list[int]:
    found, page = [], 1
    while True:
        answer = (await partner.get("/api/orders", params=query | {"page": page, "per_page": size})).json()
        found += [order["id"] for order in answer["data"]]
        page += 1
        if page > answer["total_pages"]:
            return found


async def by_link(partner: httpx.AsyncClient, size: int, query: dict[str, Any]) -> list[int]:
    found, url = [], str(httpx.URL("http://partner.test/api/orders", params=query | {"per_page": size}))
    while url:
        answer = await partner.get(url)
        found += [order["id"] for order in answer.json()["data"]]
        url = answer.links.get("next", {}).get("url", "")
    return found


async def by_offset(partner: httpx.AsyncClient, size: int, query: dict[str, Any]) -> list[int]:
    found: list[int] = []
    while True:
        params = query | {"offset": len(found), "limit": size}
        answer = (await partner.get("/api/orders", params=params)).json()
        found += [order["id"] for order in answer["data"]]
        if not answer["data"] or len(found) >= answer["total"]:
            return found


async def by_cursor(partner: httpx.AsyncClient, size: int, query: dict[str, Any]) -> list[int]:
    found, params = [], query | {"limit": size}
    while True:
        answer = (await partner.get("/api/orders", params=params)).json()
        found += [order["id"] for order in answer["data"]]
        if answer["next_cursor"] is None:
            return found
        params = {"limit": size, "cursor": answer["next_cursor"]}


numbers = st.integers(min_value=1, max_value=60)


@given(
    records=st.integers(min_value=0, max_value=60),
    size=st.integers(min_value=1, max_value=25),
    touched=st.sets(numbers, max_size=8),
    deleted=st.sets(numbers, max_size=8),
    added=st.integers(min_value=0, max_value=3),
    since=st.none() | st.integers(min_value=-1, max_value=16),
)
@settings(max_examples=40, deadline=None)
async def test_every_paging_style_yields_each_record_exactly_once(
    records: int, size: int, touched: set[int], deleted: set[int], added: int, since: int | None
) -> None:
    database = open_database(MEMORY)
    async with client_of(database) as partner:
        await seed(partner, orders=records)
        everything = set(range(1, records + 1))
        if touched & everything:
            await touch(partner, "orders", *(touched & everything))
        for number in range(records + 1, records + added + 1):
            await partner.post("/api/orders", json={"number": str(number)})
        for number in deleted:
            await partner.delete(f"/api/orders/{number}")
        changed = (touched & everything) | set(range(records + 1, records + added + 1))
        old = {number for number in everything if since is not None and number // 4 < since}
        expected = sorted((everything - old | changed) - deleted)
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=since or 0)
        query = {} if since is None else {"updated_since": moment.isoformat()}
        for style in (by_page, by_link, by_offset, by_cursor):
            assert await style(partner, size, query) == expected, style.__name__
    database.close()


async def test_a_cursor_stays_true_while_records_come_and_go(partner: httpx.AsyncClient) -> None:
    first = (await partner.get("/api/orders", params={"cursor": "", "limit": 100})).json()
    for number in (1, 50, 100, 101):
        await partner.delete(f"/api/orders/{number}")
    params = {"cursor": first["next_cursor"], "limit": 100}
    second = (await partner.get("/api/orders", params=params)).json()
    assert [order["id"] for order in second["data"]] == list(range(102, 202))


async def test_links_name_first_prev_next_and_last(partner: httpx.AsyncClient) -> None:
    answer = await partner.get("/api/orders?page=2&per_page=100&updated_since=2026-01-01T00:00:00Z")
    pages = {name: httpx.URL(link["url"]).params["page"] for name, link in answer.links.items()}
    assert pages == {"first": "1", "prev": "1", "next": "3", "last": "3"}
    assert httpx.URL(answer.links["next"]["url"]).params["updated_since"] == "2026-01-01T00:00:00Z"
    assert answer.headers["X-Total-Count"] == "250"


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "per_page=x",
        "offset=-1",
        "limit=0",
        "page=1&cursor=",
        "cursor=nonsense",
        "cursor=WzEsMl0",
        "cursor=é",
    ],
)
async def test_senseless_paging_is_a_400(partner: httpx.AsyncClient, query: str) -> None:
    query = query.replace("WzEsMl0", "WzEsMl0&updated_since=2026-01-01")
    answer = await partner.get(f"/api/orders?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_huge_page_is_cut_to_a_thousand(partner: httpx.AsyncClient) -> None:
    await seed(partner, orders=1500)
    answer = (await partner.get("/api/orders", params={"per_page": 5000})).json()
    assert (len(answer["data"]), answer["per_page"], answer["total_pages"]) == (1000, 1000, 2)


# Conditional reads


@pytest.mark.parametrize("path", ["/api/orders?per_page=10", "/api/orders/4"])
async def test_an_unchanged_resource_is_a_304_until_it_changes(partner: httpx.AsyncClient, path: str) -> None:
    first = await partner.get(path)
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    assert etag.startswith('"')
    for headers in (
        {"If-None-Match": f'"other", W/{etag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": modified},
        {"If-None-Match": etag, "If-Modified-Since": "Thu, 01 Jan 2015 00:00:00 GMT"},
    ):
        same = await partner.get(path, headers=headers)
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    await touch(partner, "orders", 4)
    for headers in ({"If-None-Match": etag}, {"If-Modified-Since": modified}):
        changed = await partner.get(path, headers=headers)
        assert (changed.status_code, changed.headers["ETag"] == etag) == (200, False)
    wins = {"If-None-Match": '"other"', "If-Modified-Since": changed.headers["Last-Modified"]}
    assert (await partner.get(path, headers=wins)).status_code == 200
    assert (await partner.get(path, headers={"If-Modified-Since": "lately"})).status_code == 200


# Faults


async def test_a_status_fault_hits_so_many_requests(partner: httpx.AsyncClient) -> None:
    await fault(partner, status=429, retry_after=7, times=2)
    answers = [await partner.get("/api/orders") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert (answers[0].headers["Retry-After"], "retry-after" in answers[2].headers) == ("7", False)


async def test_a_fault_can_redirect_drip_and_poison(partner: httpx.AsyncClient) -> None:
    await fault(partner, redirect_to="http://169.254.169.254/")
    answer = await partner.get("/api/orders")
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://169.254.169.254/")
    whole = (await partner.put("/_devstack/faults", json={"poison": [2]})).json()
    assert whole["poison"] == [2]
    listed = (await partner.get("/api/inventory", params={"per_page": 3})).json()["data"]
    assert [(stock["id"], stock["sku"]) for stock in listed] == [(1, "SKU-0000001"), (2, None), (3, "SKU-0000003")]
    assert (await partner.get("/api/inventory/2")).json()["updated_at"] == "yesterday"
    await fault(partner, drip=0, latency_ms=1)
    assert (await partner.get("/api/inventory/3")).json() == listed[2]
    assert (await partner.delete("/_devstack/faults")).status_code == 204
    assert (await partner.get("/api/inventory/2")).json()["sku"] == "SKU-0000002"


async def test_a_gzip_bomb_is_small_on_the_wire_and_large_inside(partner: httpx.AsyncClient) -> None:
    await fault(partner, gzip_bomb=2)
    async with partner.stream("GET", "/api/orders") as answer:
        wire = b"".join([chunk async for chunk in answer.aiter_raw()])
        assert answer.headers["Content-Encoding"] == "gzip"
    assert len(wire) < 5000
    assert len((await partner.get("/api/orders")).text) == 2 * 1024 * 1024 + 2


@pytest.mark.parametrize("kind", [{"status": 200}, {"times": 0}, {"slow": 1}, {"gzip_bomb": 99999}])
async def test_a_senseless_fault_is_a_422(partner: httpx.AsyncClient, kind: dict[str, Any]) -> None:
    answer = await partner.put("/_devstack/faults", json=kind)
    assert (answer.status_code, ": " in answer.json()["error"]) == (422, True)


# The webhook receiver


def signed(body: bytes, prefix: str = "svix", at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    signature = Webhook(SECRET).sign("msg_1", at, body.decode())
    return {
        f"{prefix}-id": "msg_1",
        f"{prefix}-timestamp": str(int(at.timestamp())),
        f"{prefix}-signature": signature,
    }


async def received(partner: httpx.AsyncClient, name: str = "pinksync") -> list[dict[str, Any]]:
    return (await partner.get(f"/webhooks/{name}")).json()["received"]


async def tell(partner: httpx.AsyncClient, name: str = "pinksync", **settings: Any) -> dict[str, Any]:
    answer = await partner.put(f"/webhooks/{name}", json=settings)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("prefix", ["svix", "webhook"])
async def test_a_signed_webhook_is_kept_and_verified(partner: httpx.AsyncClient, prefix: str) -> None:
    assert await tell(partner, secret=SECRET) == {"secret_known": True, "respond": None}
    body = b'{ "a" : "\\u00e9" }\n'
    answer = await partner.post("/webhooks/pinksync", content=body, headers=signed(body, prefix))
    assert (answer.status_code, answer.content) == (204, b"")
    (kept,) = await received(partner)
    assert (kept["verified"], kept["body"]) == (True, body.decode())
    assert kept["headers"][f"{prefix}-id"] == "msg_1"
    assert datetime.fromisoformat(kept["at"]).tzinfo is not None
    assert kept["at"].endswith("Z")


async def test_without_a_secret_nothing_is_verified(partner: httpx.AsyncClient) -> None:
    await partner.post("/webhooks/pinksync", content=b"{}", headers=signed(b"{}"))
    await tell(partner, secret=SECRET)
    await tell(partner, secret=None)
    await partner.post("/webhooks/pinksync", content=b"{}", headers=signed(b"{}"))
    assert [kept["verified"] for kept in await received(partner)] == [False, False]


async def test_a_changed_stale_or_unsigned_body_is_kept_but_not_verified(partner: httpx.AsyncClient) -> None:
    await tell(partner, secret=SECRET)
    stale = signed(b"{}", at=datetime.now(UTC) - timedelta(minutes=6))
    for body, headers in ((b"{ }", signed(b"{}")), (b"{}", stale), (b"{}", {}), (b"\xff\xfe", signed(b"{}"))):
        answer = await partner.post("/webhooks/pinksync", content=body, headers=headers)
        assert answer.status_code == 204
    kept = await received(partner)
    assert [each["verified"] for each in kept] == [False] * 4
    assert kept[3]["body"] == "\ufffd\ufffd"


@given(
    body=st.binary(max_size=40),
    timestamp=st.text() | st.sampled_from(["nan", "inf", "1e999", "-1", "9" * 400]),
    signature=st.text() | st.sampled_from(["v1,", "v1,a", "v1,,", " ", "v1", "v1,\u00e9", "v1a,AAAA v1,AAAA"]),
)
def test_garbage_is_merely_not_genuine(body: bytes, timestamp: str, signature: str) -> None:
    garbage = {"svix-id": "m", "svix-timestamp": timestamp, "svix-signature": signature}
    assert genuine(SECRET, body, garbage) is False


async def test_it_answers_as_told_and_then_as_usual(partner: httpx.AsyncClient) -> None:
    told = await tell(partner, respond={"status": 500, "delay_ms": 1, "times": 2})
    assert told["respond"] == {"status": 500, "delay_ms": 1, "times": 2}
    answers = [await partner.post("/webhooks/pinksync", content=b"{}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 500, 204]
    assert answers[0].text == "told to answer 500\n"
    assert len(await received(partner)) == 3


async def test_being_told_one_thing_leaves_the_other(partner: httpx.AsyncClient) -> None:
    await tell(partner, secret=SECRET)
    told = await tell(partner, respond={"status": 410})
    assert told == {"secret_known": True, "respond": {"status": 410, "delay_ms": 0, "times": None}}
    assert await tell(partner, respond=None) == {"secret_known": True, "respond": None}


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({}, "give secret, respond, or both"),
        ([], "body"),
        ({"secret": "nonsense"}, "a secret looks like whsec_<base64>"),
        ({"secret": "whsec_!!!"}, "what follows whsec_ is not base64"),
        ({"secret": "whsec_"}, "nothing follows whsec_"),
        ({"secret": 5}, "secret"),
        ({"respond": {"status": 99}}, "respond.status"),
        ({"respond": {"status": "500"}}, "respond.status"),
        ({"respond": {"times": 0}}, "respond.times"),
        ({"respond": {"delay_ms": -1}}, "respond.delay_ms"),
        ({"respond": {"stauts": 500}}, "respond.stauts"),
        ({"secrets": SECRET}, "secrets"),
    ],
)
async def test_being_told_nonsense_is_a_422_that_says_why(partner: httpx.AsyncClient, said: Any, problem: str) -> None:
    answer = await partner.put("/webhooks/pinksync", json=said)
    assert answer.status_code == 422
    assert problem in answer.json()["error"]


async def test_an_unpadded_secret_will_do(partner: httpx.AsyncClient) -> None:
    await tell(partner, secret="whsec_" + base64.b64encode(b"25 bytes have padding, so").decode().rstrip("="))


async def test_each_name_is_a_receiver_of_its_own(partner: httpx.AsyncClient) -> None:
    await tell(partner, "a/b", secret=SECRET)
    for name in ("a/b", "a", "caf%C3%A9"):
        await partner.post(f"/webhooks/{name}", content=b"{}", headers=signed(b"{}"))
    kept = [await received(partner, name) for name in ("a/b", "a", "café", "none")]
    assert [[each["verified"] for each in some] for some in kept] == [[True], [False], [False], []]
    assert (await partner.delete("/webhooks/a/b")).status_code == 204
    assert [len(await received(partner, name)) for name in ("a/b", "a")] == [0, 1]
    assert (await partner.post("/webhooks/")).status_code == 404
    assert (await partner.patch("/webhooks/a")).status_code == 405


async def test_a_body_over_one_mebibyte_is_refused_and_not_kept(partner: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b"x" * 65_536

    assert (await partner.post("/webhooks/pinksync", content=b"x" * 1_048_576)).status_code == 204
    assert (await partner.post("/webhooks/pinksync", content=b"x" * 1_048_577)).status_code == 413
    assert (await partner.post("/webhooks/pinksync", content=chunks())).status_code == 413
    assert len(await received(partner)) == 1


async def test_only_the_newest_are_asked_for_with_a_limit(partner: httpx.AsyncClient) -> None:
    for number in range(3):
        await partner.post("/webhooks/pinksync", content=str(number))
    kept = (await partner.get("/webhooks/pinksync", params={"limit": 2})).json()["received"]
    assert [each["body"] for each in kept] == ["1", "2"]
    assert (await partner.get("/webhooks/pinksync", params={"limit": "x"})).status_code == 422


def test_only_the_newest_are_kept_also_after_a_restart(database: sqlite3.Connection) -> None:
    def keep(inbox: Inbox, name: str, text: str) -> None:
        inbox.keep(name, Received(headers={}, body=text.encode(), verified=False, at=""))

    inbox = Inbox(database, keep=3)
    for number in range(5):
        keep(inbox, "a", str(number))
    keep(inbox, "b", "other")
    again = Inbox(database, keep=3)
    keep(again, "a", "5")
    assert [each.body for each in again.received("a", 10)] == [b"3", b"4", b"5"]
    assert len(again.received("b", 10)) == 1
    assert again.hook("a") == HookSettings(secret=None)


async def test_many_webhooks_at_once_are_all_kept(partner: httpx.AsyncClient) -> None:
    await tell(partner, respond={"status": 500, "times": 10})
    posts = (partner.post("/webhooks/pinksync", content=str(number)) for number in range(40))
    answers = await asyncio.gather(*posts)
    assert sorted(answer.status_code for answer in answers) == [204] * 30 + [500] * 10
    assert {each["body"] for each in await received(partner)} == {str(number) for number in range(40)}


# The process


def start(data: Path, port: int = 0, key: str = KEY) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "devstack.partner", "--port", str(port), "--data", str(data)]
    env = os.environ | {"DEVSTACK_PARTNER_API_KEY": key}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def running(data: Path, stop: signal.Signals = signal.SIGTERM) -> Iterator[httpx.Client]:
    """A live server; told to stop, it must leave with 0."""
    with start(data) as process:
        assert process.stdout
        ready = process.stdout.readline()
        try:
            with httpx.Client(base_url=ready.split()[-1], headers={"X-API-Key": KEY}, trust_env=False) as client:
                yield client
        finally:
            process.send_signal(stop)
            _, complaints = process.communicate(timeout=10)
    assert (process.returncode, complaints) == (-9 if stop == signal.SIGKILL else 0, "")


def test_everything_outlives_a_killed_process(tmp_path: Path) -> None:
    with running(tmp_path, signal.SIGKILL) as partner:
        partner.put("/webhooks/a/b", json={"secret": SECRET, "respond": {"status": 500, "times": 2}})
        assert partner.post("/webhooks/a/b", content=b"{}", headers=signed(b"{}")).status_code == 500
        partner.put("/_devstack/seed", json={"orders": 20})
        partner.put("/_devstack/touch", json={"resource": "orders", "ids": [2]})
        partner.delete("/api/orders/3")
        made = partner.post("/api/orders", json={"number": "N"}).json()
        before = partner.get("/api/orders").json()
    with running(tmp_path, signal.SIGINT) as partner:
        answers = [partner.post("/webhooks/a/b", content=b"{}", headers=signed(b"{}")) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [500, 204]
        kept = partner.get("/webhooks/a/b").json()["received"]
        assert [each["verified"] for each in kept] == [True] * 3
        assert partner.get("/api/orders").json() == before
        assert (before["total"], made["id"]) == (20, 21)
        assert partner.post("/api/orders", json={"number": "M"}).json()["id"] == 22


def test_it_leaves_at_once_while_an_answer_is_being_delayed(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        httpx.put(f"{url}/webhooks/a", json={"respond": {"delay_ms": 60_000}}, trust_env=False)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/webhooks/a", timeout=0.1, trust_env=False)
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1]))) as waiting:
            waiting.sendall(b"POST /webhooks/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            while len(httpx.get(f"{url}/webhooks/a", trust_env=False).json()["received"]) < 2:
                pass
            process.terminate()
            _, complaints = process.communicate(timeout=5)
            assert waiting.recv(100) == b""
    assert (process.returncode, complaints.count("\n")) == (0, 1)
    assert "timeout graceful shutdown exceeded" in complaints


async def test_it_says_what_it_is(partner: httpx.AsyncClient) -> None:
    assert (await partner.get("/")).json()["name"] == "PinkSync example partner"
    assert (await partner.get("/_devstack/health")).json()["ok"] is True
    assert (await partner.get("/nothing")).status_code == 404


def test_a_busy_port_is_one_clear_line_and_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(tmp_path, port) as process:
            _, complaint = process.communicate(timeout=20)
    assert process.returncode == 1
    assert complaint == (
        f"partner: cannot listen on 127.0.0.1:{port} (Address already in use); choose another --port\n"
    )


def test_an_unusable_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match=r"^cannot use .*/file/data as the data folder: Not a directory$"):
        data_folder(tmp_path / "file" / "data")
    with pytest.raises(CannotStart, match=r"^cannot use .*: unable to open database file$"):
        open_database(tmp_path / "nothing" / "partner.sqlite3")
