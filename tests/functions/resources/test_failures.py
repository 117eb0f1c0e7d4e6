"""Xano's ways to fail, each with its problem."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.functions.resources.backend import INVENTORY, ORDERS, Xano
from tests.functions.stack import Connected, Json, refused


def test_what_xano_says_of_a_bad_input_is_a_400_that_names_it(api: httpx.Client, partner: Connected):
    problem = refused(api.post(ORDERS, json={"number": None}, headers=partner.key), 400, "bad_request")
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
