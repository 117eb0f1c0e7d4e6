"""Reads are kept for who made them, and dropped by writes."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.functions.resources.backend import INVENTORY, ORDERS, Gateway, Xano, cache_uses
from tests.functions.stack import Connected, refused


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


@pytest.mark.parametrize("directive", ["no-cache", "No-Store", "max-stale=5, max-age=0"])
def test_a_caller_that_wants_no_kept_answer_gets_a_new_one_and_leaves_it_for_the_next(
    api: httpx.Client, partner: Connected, xano: Xano, directive: str
):
    api.get(ORDERS, headers=partner.key)
    xano.add(partner, number="A-1")
    fresh = api.get(ORDERS, headers=partner.key | {"Cache-Control": directive})
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
            assert (answer.headers["x-cache"], answer.headers["content-type"]) == (use, "application/json")
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
