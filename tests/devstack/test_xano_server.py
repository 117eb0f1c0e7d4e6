"""The Xano stand-in is as honest as facts/xano.md section 7.4 asks: same words, same traps, same faults."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devstack.xano_server.app import build
from devstack.xano_server.events import Events
from devstack.xano_server.group import Group
from devstack.xano_server.store import Store

ROOT = Path(__file__).parents[2]
KEY = "a-service-key"
ALICE = {"Authorization": f"Bearer {KEY}", "X-Partner-Id": "alice"}
ORDERS, STOCK = "/api:business/orders", "/api:business/inventory"


def client_of(group: Group) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(build(group)), base_url="http://xano.test", headers=ALICE)


@pytest.fixture
async def group() -> AsyncIterator[Group]:
    group = Group(store=Store(Path(":memory:")), api_key=KEY)
    yield group
    await group.events.switch_off()
    group.store.close()


@pytest.fixture
async def xano(group: Group) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(group) as client:
        yield client


async def add(xano: httpx.AsyncClient, path: str = ORDERS, **row: Any) -> dict[str, Any]:
    answer = await xano.post(path, json=row)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["message"]


# Who may ask


async def test_no_token_and_a_wrong_token_are_refused_in_xanos_words(xano: httpx.AsyncClient) -> None:
    del xano.headers["Authorization"]
    missing = await xano.get(ORDERS)
    wrong = await xano.get(ORDERS, headers={b"Authorization": "Bearer café".encode()})
    assert refusal(missing) == (401, "ERROR_CODE_UNAUTHORIZED", "Unauthorized - Authentication Required")
    assert refusal(wrong) == (401, "ERROR_CODE_UNAUTHORIZED", "Unauthorized")
    assert wrong.json()["payload"] == ""


async def test_a_request_without_a_partner_is_refused(xano: httpx.AsyncClient) -> None:
    answer = await xano.get(ORDERS, headers={"X-Partner-Id": " "})
    assert refusal(answer) == (400, "ERROR_CODE_BAD_REQUEST", "The header X-Partner-Id is required.")


async def test_a_partner_sees_and_reaches_only_its_own_rows(xano: httpx.AsyncClient) -> None:
    row = await add(xano, number="A-1", partner_id="bob")
    assert row["partner_id"] == "alice"
    bob = {"X-Partner-Id": "bob"}
    path = f"{ORDERS}/{row['id']}"
    assert (await xano.get(ORDERS, headers=bob)).json() == []
    assert (await xano.get(path, headers=bob)).status_code == 404
    assert (await xano.patch(path, headers=bob, json={"total": 9})).status_code == 404
    assert (await xano.delete(path, headers=bob)).json() is None
    assert (await xano.get(path)).json() == row
    assert (await xano.post(ORDERS, headers=bob, json={"number": "A-1"})).status_code == 200


async def test_each_data_source_has_rows_of_its_own(xano: httpx.AsyncClient) -> None:
    await add(xano, number="A-1")
    by_header = await xano.get(ORDERS, headers={"X-Data-Source": "test"})
    by_query = await xano.get(ORDERS, params={"x-data-source": "test"})
    live = await xano.get(ORDERS, params={"x-data-source": "live"})
    assert (by_header.json(), by_query.json(), len(live.json())) == ([], [], 1)


# Routes and headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", ORDERS),
        ("DELETE", ORDERS),
        ("POST", f"{ORDERS}/1"),
        ("GET", "/api:business/customers"),
        ("GET", "/api:other/orders"),
        ("GET", "/api:business"),
        ("GET", f"{ORDERS}/1/lines"),
        ("OPTIONS", ORDERS),
        ("POST", "/_devstack/health"),
        ("GET", "/"),
    ],
)
async def test_an_unknown_path_and_a_wrong_verb_are_one_and_the_same_404(
    xano: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await xano.request(method, path)
    assert refusal(answer) == (404, "ERROR_CODE_NOT_FOUND", "Unable to locate request.")
    assert answer.headers["X-Xano-Standin"] == "1"


async def test_a_branch_may_be_named(xano: httpx.AsyncClient) -> None:
    assert (await xano.get("/api:business:v2/orders")).json() == []


async def test_every_answer_says_standin_and_gives_the_request_id_back(xano: httpx.AsyncClient) -> None:
    for path in (ORDERS, f"{ORDERS}/1", "/_devstack/health", "/nowhere"):
        answer = await xano.get(path, headers={"X-Request-Id": "req-1"})
        assert (answer.headers["X-Xano-Standin"], answer.headers["X-Request-Id"]) == ("1", "req-1")
    assert "x-request-id" not in (await xano.get(ORDERS)).headers
    assert (await xano.get("/_devstack/health")).json()["engine"] == "standin"


# Rows and inputs


async def test_a_create_answers_200_and_a_row_with_zero_values(xano: httpx.AsyncClient) -> None:
    row = await add(xano, number="  A-1 ", total="12.3456789", id=99, colour="red")
    assert isinstance(row.pop("created_at"), int)
    assert row == {
        "id": 1,
        "partner_id": "alice",
        "external_id": None,
        "number": "A-1",
        "status": "new",
        "total": 12.34568,
        "currency": "",
        "items": None,
    }
    assert (await xano.get(ORDERS)).json()[0]["number"] == "A-1"


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"number": "  "}, "Missing param: number", "number"),
        ({"number": None}, "Missing param: number", "number"),
        ({"number": "1", "total": None}, "Missing param: total", "total"),
        ({"number": "1", "status": "lost"}, "lost is not one of the allowable values", "status"),
        ({"number": "1", "total": "a lot"}, "Input is not a number.", "total"),
        ({"number": "1", "total": True}, "Input is not a number.", "total"),
        ({"number": ["1"]}, "Input is not text.", "number"),
    ],
)
async def test_a_bad_input_is_a_400_that_names_it(xano: httpx.AsyncClient, body: Any, message: str, param: str) -> None:
    answer = await xano.post(ORDERS, json=body)
    assert refusal(answer) == (400, "ERROR_CODE_INPUT_ERROR", message)
    assert answer.json()["payload"] == {"param": param}


async def test_a_body_that_is_no_json_is_a_400(xano: httpx.AsyncClient) -> None:
    assert refusal(await xano.post(ORDERS, content=b"{"))[:2] == (400, "ERROR_CODE_BAD_REQUEST")


async def test_numbers_and_times_are_taken_as_xano_takes_them(xano: httpx.AsyncClient) -> None:
    row = await add(xano, STOCK, sku=7, quantity=2**70, updated_at="2026-01-02T03:04:05.678Z")
    assert (row["sku"], row["quantity"], row["updated_at"]) == ("7", 2**63 - 1, 1767323045000)
    assert (await add(xano, STOCK, sku="8", updated_at=1767323045))["updated_at"] == 1767323045
    assert (await add(xano, STOCK, sku="9"))["updated_at"] > 1767323045000


@given(
    body=st.dictionaries(
        st.sampled_from(["number", "total", "items", "status", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
@settings(max_examples=60, deadline=None)
async def test_no_body_crashes_the_server(body: dict[str, Any]) -> None:
    group = Group(store=Store(Path(":memory:")), api_key=KEY)
    async with client_of(group) as xano:
        answer = await xano.post(ORDERS, json=body)
    group.store.close()
    assert answer.status_code in (200, 400)


async def test_who_gives_no_number_is_given_one(xano: httpx.AsyncClient) -> None:
    one, two = await add(xano, total=1), await add(xano, total=1)
    assert one["number"]
    assert one["number"] != two["number"]
    assert (await add(xano, external_id="e-1"))["number"] == "e-1"
    await upsert(xano, {"external_id": "e-2"})
    assert (await xano.get(ORDERS)).json()[-1]["number"] == "e-2"


# The traps of the auto-made endpoints


async def test_patch_drops_null_and_empty_text_without_a_word(xano: httpx.AsyncClient) -> None:
    row = await add(xano, number="A-1", external_id="e-1", currency="EUR", total=5)
    answer = await xano.patch(f"{ORDERS}/{row['id']}", json={"external_id": None, "currency": "", "total": 6})
    assert answer.status_code == 200
    assert answer.json() == row | {"total": 6}


async def test_put_writes_omitted_inputs_as_zero_values(xano: httpx.AsyncClient) -> None:
    row = await add(xano, number="A-1", external_id="e-1", currency="EUR", total=5, status="paid", items=[1])
    answer = await xano.put(f"{ORDERS}/{row['id']}", json={"number": "A-2"})
    emptied = {"external_id": None, "currency": "", "total": 0, "status": "new", "items": None}
    assert answer.json() == row | {"number": "A-2"} | emptied
    assert refusal(await xano.put(f"{ORDERS}/{row['id']}", json={}))[2] == "Missing param: number"


async def test_a_missing_row_is_404_but_deleting_it_answers_null(xano: httpx.AsyncClient) -> None:
    for method in ("GET", "PATCH", "PUT"):
        answer = await xano.request(method, f"{ORDERS}/9", json={"number": "1"})
        assert refusal(answer) == (404, "ERROR_CODE_NOT_FOUND", "Not Found")
    gone = await xano.delete(f"{ORDERS}/9")
    assert (gone.status_code, gone.text) == (200, "null")


@pytest.mark.parametrize("bad", ["x", "0", "-1", "bulk_upsert"])
async def test_an_id_that_is_none_is_a_400(xano: httpx.AsyncClient, bad: str) -> None:
    answer = await xano.get(f"{ORDERS}/{bad}")
    assert (answer.status_code, answer.json()["payload"]) == (400, {"param": "orders_id"})


async def test_a_duplicate_is_a_500_error_fatal(xano: httpx.AsyncClient) -> None:
    await add(xano, number="A-1", external_id="e-1")
    other = await add(xano, number="A-2")
    duplicate = (500, "ERROR_FATAL", "Duplicate record detected.")
    assert refusal(await xano.post(ORDERS, json={"number": "A-1"})) == duplicate
    assert refusal(await xano.post(ORDERS, json={"number": "A-3", "external_id": "e-1"})) == duplicate
    assert refusal(await xano.patch(f"{ORDERS}/{other['id']}", json={"number": "A-1"})) == duplicate
    assert [row["number"] for row in (await xano.get(ORDERS)).json()] == ["A-1", "A-2"]


async def test_nulls_are_distinct_in_a_unique_column_but_empty_texts_are_not(xano: httpx.AsyncClient) -> None:
    await add(xano, number="1")
    await add(xano, number="2")
    await add(xano, number="3", external_id="")
    assert (await xano.post(ORDERS, json={"number": "4", "external_id": ""})).status_code == 500


async def test_ids_ascend_per_table_and_are_never_used_twice(xano: httpx.AsyncClient) -> None:
    last = (await add(xano, number="1"))["id"]
    await xano.delete(f"{ORDERS}/{last}")
    assert (await add(xano, number="2"))["id"] > last
    assert (await add(xano, STOCK, sku="1"))["id"] == 1


# Lists


async def test_a_list_is_a_bare_array_until_a_page_is_asked_for(xano: httpx.AsyncClient) -> None:
    for number in range(5):
        await add(xano, number=str(number))
    assert len((await xano.get(ORDERS)).json()) == 5
    page = (await xano.get(ORDERS, params={"page": 2, "per_page": 2})).json()
    assert [row["number"] for row in page.pop("items")] == ["2", "3"]
    assert page == {
        "itemsReceived": 2,
        "curPage": 2,
        "nextPage": 3,
        "prevPage": 1,
        "offset": 2,
        "perPage": 2,
        "itemsTotal": 5,
        "pageTotal": 3,
    }


async def test_the_last_page_has_no_next_and_a_page_beyond_it_is_empty(xano: httpx.AsyncClient) -> None:
    await add(xano, number="1")
    last = (await xano.get(ORDERS, params={"page": 1})).json()
    beyond = (await xano.get(ORDERS, params={"per_page": 1, "page": 9})).json()
    assert (last["nextPage"], last["prevPage"], last["perPage"]) == (None, None, 50)
    assert (beyond["items"], beyond["nextPage"]) == ([], None)


@pytest.mark.parametrize("query", ["page=0", "page=x", "per_page=10001", "per_page=-1"])
async def test_a_senseless_page_is_a_400(xano: httpx.AsyncClient, query: str) -> None:
    assert refusal(await xano.get(f"{ORDERS}?{query}"))[:2] == (400, "ERROR_CODE_INPUT_ERROR")


# The bulk upsert


async def upsert(xano: httpx.AsyncClient, *items: Any, path: str = ORDERS) -> dict[str, int]:
    answer = await xano.post(f"{path}/bulk_upsert", json={"items": list(items)})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_bulk_upsert_tells_created_updated_and_unchanged_apart(xano: httpx.AsyncClient) -> None:
    one, two = {"external_id": "1", "number": "A-1", "total": 1}, {"external_id": 2, "number": "A-2"}
    assert await upsert(xano, one, two) == {"created": 2, "updated": 0, "unchanged": 0}
    assert await upsert(xano, one, two) == {"created": 0, "updated": 0, "unchanged": 2}
    changed = {"external_id": "2", "number": "A-2", "status": "paid"}
    assert await upsert(xano, one, changed, {"external_id": "3", "number": "A-3"}) == {
        "created": 1,
        "updated": 1,
        "unchanged": 1,
    }
    rows = (await xano.get(ORDERS)).json()
    assert [(row["external_id"], row["status"], row["total"]) for row in rows] == [
        ("1", "new", 1),
        ("2", "paid", 0),
        ("3", "new", 0),
    ]


async def test_a_bulk_upsert_keeps_the_columns_that_an_item_does_not_name(xano: httpx.AsyncClient) -> None:
    await upsert(xano, {"external_id": "1", "sku": "s", "quantity": 5, "location": "Cork"}, path=STOCK)
    counts = await upsert(xano, {"external_id": "1", "quantity": 6}, path=STOCK)
    row = (await xano.get(STOCK)).json()[0]
    assert (counts["updated"], row["quantity"], row["location"]) == (1, 6, "Cork")


async def test_of_two_items_with_one_external_id_the_later_counts(xano: httpx.AsyncClient) -> None:
    first, second = ({"external_id": "1", "number": "A-1", "total": total} for total in (1, 2))
    assert await upsert(xano, first, second, second) == {"created": 1, "updated": 1, "unchanged": 1}
    assert [row["total"] for row in (await xano.get(ORDERS)).json()] == [2]


async def test_a_bulk_delete_takes_what_is_there(xano: httpx.AsyncClient) -> None:
    items = [{"external_id": str(number), "number": f"N{number}"} for number in range(3)]
    await xano.post(f"{ORDERS}/bulk_upsert", json={"items": items})
    answer = await xano.post(f"{ORDERS}/bulk_delete", json={"external_ids": ["1", "2", "never there"]})
    assert (answer.status_code, answer.json()) == (200, {"deleted": 2})
    assert [row["external_id"] for row in (await xano.get(ORDERS)).json()] == ["0"]
    assert refusal(await xano.post(f"{ORDERS}/bulk_delete", json={}))[2] == "Missing param: external_ids"


async def test_a_batch_below_the_highest_fence_is_refused(xano: httpx.AsyncClient) -> None:
    def batch(fence: int, number: str) -> dict[str, Any]:
        return {"items": [{"external_id": "1", "number": number}], "fence": fence}

    for fence, number, status in ((5, "first", 200), (5, "again", 200), (7, "later", 200), (6, "late", 400)):
        answer = await xano.post(f"{ORDERS}/bulk_upsert", json=batch(fence, number))
        assert answer.status_code == status
    assert refusal(answer)[2] == "stale_fence"
    late = await xano.post(f"{ORDERS}/bulk_delete", json={"external_ids": ["1"], "fence": 6})
    assert refusal(late)[2] == "stale_fence"
    assert [row["number"] for row in (await xano.get(ORDERS)).json()] == ["later"]


async def test_a_bulk_upsert_is_all_or_nothing(xano: httpx.AsyncClient) -> None:
    clash = [{"external_id": "1", "number": "A-1"}, {"external_id": "2", "number": "A-1"}]
    answer = await xano.post(f"{ORDERS}/bulk_upsert", json={"items": clash})
    assert refusal(answer) == (500, "ERROR_FATAL", "Duplicate record detected.")
    assert (await xano.get(ORDERS)).json() == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "items"),
        ({"items": [{"number": "1"}]}, "items.0.external_id"),
        ({"items": [{"external_id": "1", "number": "1"}, 5]}, "items.1"),
        ({"items": {"external_id": "1", "number": None}}, "number"),
    ],
)
async def test_a_bad_item_is_a_400_that_names_it(xano: httpx.AsyncClient, body: Any, param: str) -> None:
    answer = await xano.post(f"{ORDERS}/bulk_upsert", json=body)
    assert (answer.status_code, answer.json()["payload"]) == (400, {"param": param})


async def test_a_partners_upsert_never_touches_another_partners_rows(xano: httpx.AsyncClient) -> None:
    await upsert(xano, {"external_id": "1", "number": "A-1"})
    xano.headers["X-Partner-Id"] = "bob"
    counts = await upsert(xano, {"external_id": "1", "number": "A-1", "total": 5})
    assert counts == {"created": 1, "updated": 0, "unchanged": 0}


# Faults and the log of requests


async def set_fault(xano: httpx.AsyncClient, **fault: Any) -> None:
    assert (await xano.put("/_devstack/faults", json=fault)).status_code == 200


async def test_a_502_is_a_html_page_for_so_many_requests(xano: httpx.AsyncClient) -> None:
    await set_fault(xano, status=502, html=True, times=2)
    answers = [await xano.get(ORDERS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [502, 502, 200]
    assert answers[0].headers["content-type"].startswith("text/html")
    assert answers[0].headers["X-Xano-Standin"] == "1"


async def test_the_free_plan_allows_ten_requests_in_twenty_seconds(xano: httpx.AsyncClient, group: Group) -> None:
    now = 100.0
    group.faults.clock = lambda: now
    await set_fault(xano, rate_limit=True)
    answers = [await xano.get(ORDERS) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[10].json()["code"] == "ERROR_CODE_TOO_MANY_REQUESTS"
    assert "10 requests per 20 seconds" in answers[10].json()["message"]
    assert "retry-after" not in answers[10].headers
    now += 20
    assert (await xano.get(ORDERS)).status_code == 200


async def test_the_other_faults_look_as_they_do_at_xano(xano: httpx.AsyncClient) -> None:
    await add(xano, number="A-1")
    await set_fault(xano, connection_lost=True)
    assert refusal(await xano.get(ORDERS)) == (500, "ERROR_FATAL", "Connection lost")
    await set_fault(xano, unauthorized=True)
    assert refusal(await xano.get(ORDERS))[:2] == (401, "ERROR_CODE_UNAUTHORIZED")
    await set_fault(xano, status=503)
    assert (await xano.get(ORDERS)).status_code == 503
    await set_fault(xano, truncated_json=True, latency_ms=1)
    truncated = await xano.get(ORDERS)
    assert truncated.status_code == 200
    with pytest.raises(ValueError, match=r"(?i)expecting|unterminated"):
        truncated.json()
    assert (await xano.delete("/_devstack/faults")).status_code == 204
    assert len((await xano.get(ORDERS)).json()) == 1


@pytest.mark.parametrize("fault", [{"status": 200}, {"times": 0}, {"flood": True}, {"html": "yes"}, []])
async def test_a_senseless_fault_is_a_422_that_says_why(xano: httpx.AsyncClient, fault: Any) -> None:
    answer = await xano.put("/_devstack/faults", json=fault)
    assert answer.status_code == 422
    assert ": " in answer.json()["error"]


async def test_the_log_shows_requests_but_not_the_servers_own_key(xano: httpx.AsyncClient) -> None:
    await xano.post(ORDERS, json={"number": "1"}, params={"a": "b"}, headers={"X-Leak": "pk_live_x"})
    await xano.get(f"{ORDERS}/7", headers={"Authorization": "Bearer other"})
    first, second = (await xano.get("/_devstack/requests")).json()["requests"]
    assert (first["method"], first["path"], first["query"], first["status"]) == ("POST", ORDERS, "a=b", 200)
    assert (first["headers"]["x-leak"], first["body"]) == ("pk_live_x", '{"number":"1"}')
    assert first["headers"]["authorization"] == "Bearer ***"
    assert (second["headers"]["authorization"], second["status"]) == ("Bearer other", 401)
    await xano.delete("/_devstack/requests")
    assert (await xano.get("/_devstack/requests")).json() == {"requests": []}


# Events: once, unordered, no retry; a lost one only comes back by the outbox task


class Gateway:
    """Stands for `POST /api/events`; refuses the first `down` events."""

    def __init__(self, down: int = 0) -> None:
        self.down = down
        self.seen: list[dict[str, Any]] = []
        self.arrived = asyncio.Event()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(httpx.Response(200, content=request.content).json())
        self.arrived.set()
        return httpx.Response(503 if len(self.seen) <= self.down else 202)

    async def next(self) -> dict[str, Any]:
        await asyncio.wait_for(self.arrived.wait(), 5)
        self.arrived.clear()
        return self.seen[-1]


async def events_on(xano: httpx.AsyncClient, group: Group, gateway: Gateway, outbox_seconds: float) -> None:
    await group.events.switch_off()
    group.events = Events(group.store, httpx.MockTransport(gateway))
    settings = {"url": "http://gateway.test/api/events", "api_key": "k", "outbox_seconds": outbox_seconds}
    assert (await xano.put("/_devstack/events", json=settings)).status_code == 204


async def test_no_event_is_sent_until_it_is_switched_on(xano: httpx.AsyncClient, group: Group) -> None:
    await add(xano, number="1")
    assert group.store.outbox() == []


async def test_a_new_order_is_told_to_the_gateway(xano: httpx.AsyncClient, group: Group) -> None:
    gateway = Gateway()
    await events_on(xano, group, gateway, 0)
    row = await add(xano, number="1")
    event = await gateway.next()
    assert event.pop("event_id").startswith("xano-")
    assert event == {"event_type": "order.created", "payload": row, "partner_id": "alice"}
    async with asyncio.timeout(5):
        while group.store.outbox():
            await asyncio.sleep(0)
    assert (await xano.delete("/_devstack/events")).status_code == 204
    await add(xano, number="2")
    assert (len(gateway.seen), group.store.outbox()) == (1, [])


async def test_a_lost_event_stays_lost_without_the_outbox_task(xano: httpx.AsyncClient, group: Group) -> None:
    gateway = Gateway(down=1)
    await events_on(xano, group, gateway, 0)
    await add(xano, number="1")
    lost = await gateway.next()
    assert [event_id for event_id, _ in group.store.outbox()] == [lost["event_id"]]
    await events_on(xano, group, gateway, 0.001)
    assert (await gateway.next())["event_id"] == lost["event_id"]


async def test_an_event_is_noted_only_if_its_write_is_kept(xano: httpx.AsyncClient, group: Group) -> None:
    gateway = Gateway()
    await events_on(xano, group, gateway, 0)
    await add(xano, STOCK, sku="1")
    await gateway.next()
    assert (await xano.post(STOCK, json={"sku": "1"})).status_code == 500
    await xano.patch(f"{STOCK}/1", json={"quantity": 4})
    assert (await gateway.next())["payload"]["quantity"] == 4
    assert len(gateway.seen) == 2


# The process


def start(data: Path, port: int = 0, key: str = KEY) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "devstack.xano_server", "--port", str(port), "--data", str(data)]
    env = os.environ | {"DEVSTACK_XANO_API_KEY": key}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def running(data: Path) -> Iterator[httpx.Client]:
    """A live server; it must leave with 0 when told to."""
    with start(data) as process:
        assert process.stdout
        ready = process.stdout.readline()
        try:
            with httpx.Client(base_url=ready.split()[-1], headers=ALICE, trust_env=False) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            _, complaints = process.communicate(timeout=10)
    assert (process.returncode, complaints) == (0, "")


def test_rows_outlive_the_process_also_those_whose_answer_was_lost(tmp_path: Path) -> None:
    with running(tmp_path / "new" / "folder") as xano:
        assert xano.put("/_devstack/faults", json={"drop_after_commit": True, "times": 1}).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            xano.post(ORDERS, json={"number": "A-1"})
        assert xano.post(ORDERS, json={"number": "A-1"}).status_code == 500
    with running(tmp_path / "new" / "folder") as xano:
        assert [row["number"] for row in xano.get(ORDERS).json()] == ["A-1"]
        assert xano.post(ORDERS, json={"number": "A-2"}).json()["id"] == 2


def test_a_busy_port_is_one_clear_line_and_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(tmp_path, port) as process:
            _, complaint = process.communicate(timeout=20)
    assert process.returncode == 1
    assert complaint == (
        f"xano_server: cannot listen on 127.0.0.1:{port} (Address already in use); choose another --port\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_key_is_one_clear_line_and_exit_1(tmp_path: Path) -> None:
    with start(tmp_path, key="") as process:
        _, complaint = process.communicate(timeout=20)
    assert process.returncode == 1
    assert complaint == "xano_server: the environment variable DEVSTACK_XANO_API_KEY is not set\n"
