"""Lists: bounded, counted, and walked to the end by cursor or offset with nothing twice and nothing lost."""

from collections.abc import Iterator

import httpx
import pytest

from tests.functions.stack import Connect, Connected, Headers, Json, Receiver, pointers, publish, refused, register

LISTS = {"/api/keys": "keys", "/api/webhooks/deliveries": "deliveries", "/api/logs": "logs"}
IDS = {"keys": "key_id", "deliveries": "id", "logs": "log_id", "webhooks": "endpoint_id"}


@pytest.fixture(scope="module")
def busy(api: httpx.Client, connect: Connect, partner_url: str) -> Connected:
    """A partner with seven or more of everything."""
    partner = connect()
    for number in range(7):
        assert api.post("/api/keys", json={"name": f"key {number}"}, headers=partner.key).status_code == 201
        register(api, partner.key, Receiver(partner_url))
    publish(api, partner.key)
    return partner


def pages(api: httpx.Client, path: str, key: Headers, limit: int) -> Iterator[Json]:
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        answer = api.get(path, params=query, headers=key)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        cursor = answer.json()["next_cursor"]


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
@pytest.mark.parametrize(("path", "plural"), [*LISTS.items(), ("webhooks", "webhooks")])
def test_a_cursor_walks_everything_once(api: httpx.Client, busy: Connected, path: str, plural: str, limit: int) -> None:
    path = f"{busy.path}/webhooks" if path == "webhooks" else path
    whole = api.get(path, params={"limit": 200}, headers=busy.key).json()
    walked = list(pages(api, path, busy.key, limit))
    ids = [item[IDS[plural]] for page in walked for item in page[plural]]
    assert ids == [item[IDS[plural]] for item in whole[plural]]
    assert len(ids) == whole["total"] >= 7
    assert {len(page[plural]) for page in walked[:-1]} <= {limit}
    assert {page["total"] for page in walked} == {whole["total"]}


def test_partners_are_walked_to_the_end_too(api: httpx.Client, admin: Headers, busy: Connected) -> None:
    ids = [each["partner_id"] for page in pages(api, "/api/partners", admin, 5) for each in page["partners"]]
    assert len(ids) == len(set(ids))
    assert busy.id in ids


@pytest.mark.parametrize(("path", "plural"), [("/api/timers", "timers"), ("/api/event-types", "event_types")])
def test_short_lists_are_walked_like_all_others(api: httpx.Client, admin: Headers, path: str, plural: str) -> None:
    whole = api.get(path, params={"limit": 200}, headers=admin).json()
    names = [each["name"] for each in whole[plural]]
    assert (len(names), whole["limit"], whole["offset"], whole["next_cursor"]) == (whole["total"], 200, 0, None)
    walked = list(pages(api, path, admin, 1))
    assert [each["name"] for page in walked for each in page[plural]] == names
    assert {page["total"] for page in walked} == {len(names)}
    part = api.get(path, params={"limit": 1, "offset": 1}, headers=admin).json()
    assert [each["name"] for each in part[plural]] == names[1:2]


def test_an_offset_skips_as_many(api: httpx.Client, busy: Connected) -> None:
    whole = api.get("/api/keys", headers=busy.key).json()
    part = api.get("/api/keys", params={"limit": 2, "offset": 3}, headers=busy.key).json()
    assert part["keys"] == whole["keys"][3:5]
    assert (part["limit"], part["offset"], part["total"]) == (2, 3, whole["total"])
    assert (whole["limit"], whole["offset"], whole["next_cursor"]) == (50, 0, None)


def test_what_is_added_meanwhile_is_not_met_twice(api: httpx.Client, connect: Connect) -> None:
    partner = connect()
    for name in "abc":
        api.post("/api/keys", json={"name": name}, headers=partner.key).raise_for_status()
    walk = pages(api, "/api/keys", partner.key, 2)
    names = [key["name"] for key in next(walk)["keys"]]
    api.post("/api/keys", json={"name": "newest"}, headers=partner.key).raise_for_status()
    names += [key["name"] for page in walk for key in page["keys"]]
    assert names == ["c", "b", "a", "first key"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=-1", "limit=x", "limit=1.5", "limit=1,2", "limit=99999999999999999999"),
        *("offset=-1", "offset=10001", "offset=x"),
    ],
)
def test_a_page_out_of_bounds_is_refused(api: httpx.Client, partner: Connected, path: str, query: str) -> None:
    problem = refused(api.get(f"{path}?{query}", headers=partner.key), 400, "invalid_parameter")
    assert pointers(problem) == [f"/{query.partition('=')[0]}"]


@pytest.mark.parametrize(
    "cursor", ["x", "Mjk5OQ", "%00", "é", "A" * 300, "MjAyNi0wMS0wMXwx", "MjAyNi0wMS0wMVQwMDowMDowMFp8LTE", "...."]
)
def test_a_cursor_that_is_none_of_ours_is_refused(api: httpx.Client, partner: Connected, cursor: str) -> None:
    refused(api.get(f"/api/keys?cursor={cursor}", headers=partner.key), 400, "invalid_parameter")


def test_a_cursor_is_worth_nothing_to_another_partner(api: httpx.Client, busy: Connected, other: Connected) -> None:
    cursor = api.get("/api/keys?limit=2", headers=busy.key).json()["next_cursor"]
    listed = api.get("/api/keys", params={"cursor": cursor}, headers=other.key).json()["keys"]
    assert {key["partner_id"] for key in listed} <= {other.id}
