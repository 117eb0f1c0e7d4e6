"""The REST connector against partners that answer in their own ways: what it asks, and what it refuses to follow."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from shared_code.connectors.rest import RestConnector
from shared_code.model import CursorRule, ErrorClass, Paging, PagingStyle, Reading
from shared_code.ports import Forward, PageAsk, Returned, SyncFailed, SyncWait

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LINKS = Reading(path="orders", paging=Paging(style=PagingStyle.LINK, size=2, param="", size_param="per_page"))


class Partner:
    """Gives one answer after the other, and keeps what it was asked."""

    def __init__(self, *answers: Returned) -> None:
        self.answers = list(answers)
        self.asked: list[Forward] = []

    async def get(self, request: Forward) -> Returned:
        self.asked.append(request)
        return self.answers.pop(0)


def answer(body: Any, status: int = 200, **headers: str) -> Returned:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Returned(status=status, headers=named, body=body if isinstance(body, bytes) else orjson.dumps(body))


def ask(reading: Reading, **more: Any) -> PageAsk:
    return PageAsk(**{"reading": reading, "base": "https://shop.example/api", "position": None, "since": None, **more})


async def fetch(partner: Partner, reading: Reading, **more: Any):
    return await RestConnector(lambda: NOW).fetch(partner.get, ask(reading, **more))


async def refused(returned: Returned, reading: Reading, **more: Any) -> SyncFailed:
    with pytest.raises(SyncFailed) as failure:
        await fetch(Partner(returned), reading, **more)
    return failure.value


@pytest.mark.parametrize(
    ("link", "path", "query"),
    [
        ('<https://shop.example/api/orders?page=2>; rel="next"', "orders", "page=2"),
        ('</api/orders?page=2>; rel="next"', "orders", "page=2"),
        ('<?page=2>; rel=next; title="x, y"', "orders", "page=2"),
        ('<https://shop.example/api/orders?page=1>; rel="first", </api/v2/orders?p=2>;rel="next"', "v2/orders", "p=2"),
    ],
)
async def test_a_link_is_followed_wherever_it_leads_below_the_partners_address(link: str, path: str, query: str):
    partner = Partner(answer({"data": [1]}, link=link), answer({"data": [2]}))
    first = await fetch(partner, LINKS)
    last = await fetch(partner, LINKS, position=first.next)
    assert (partner.asked[1].path, partner.asked[1].query) == (path, query)
    assert (first.records, last.records, last.next) == ([1], [2], None)


@pytest.mark.parametrize(
    "link",
    [
        '<https://elsewhere.example/api/orders?page=2>; rel="next"',
        '<http://shop.example/api/orders?page=2>; rel="next"',
        '<https://shop.example:8443/api/orders?page=2>; rel="next"',
        '<//elsewhere.example/api/orders>; rel="next"',
        '</admin/orders?page=2>; rel="next"',
        '<../admin>; rel="next"',
    ],
)
async def test_a_link_that_leads_away_is_not_followed(link: str):
    failure = await refused(answer({"data": []}, link=link), LINKS)
    assert (failure.error_class, "away" in failure.message) == (ErrorClass.CONFIG, True)


async def test_a_credential_in_a_link_is_not_kept():
    link = '<https://shop.example/api/orders?api_key=secret&page=2>; rel="next"'
    found = await fetch(Partner(answer({"data": [1]}, link=link)), LINKS, hidden=frozenset({"api_key"}))
    assert found.next == {"path": "orders", "query": "page=2"}


@pytest.mark.parametrize("link", ["", "nonsense", '<a>; rel="prev"', "<>"])
async def test_without_a_link_to_the_next_page_that_was_the_last(link: str):
    assert (await fetch(Partner(answer({"data": [1]}, link=link)), LINKS)).next is None


async def test_paging_that_would_never_end_is_refused():
    reading = Reading(path="orders")
    same = await refused(answer({"data": [1], "next_cursor": "a"}), reading, position={"cursor": "a"})
    itself = await refused(
        answer({"data": []}, link='<?page=2>; rel="next"'), LINKS, position={"path": "orders", "query": "page=2"}
    )
    assert [failure.error_class for failure in (same, itself)] == [ErrorClass.CONFIG] * 2


@pytest.mark.parametrize(
    ("body", "items"),
    [
        (b"<html>", "data"),
        (b"", "data"),
        ({"data": {}}, "data"),
        ([1], "data"),
        ({"a": 1}, ""),
        ({"data": None}, "data"),
    ],
)
async def test_what_is_no_list_is_refused(body: Any, items: str):
    assert (await refused(answer(body), Reading(items=items))).error_class is ErrorClass.CONFIG


async def test_members_are_found_at_paths_with_dots():
    reading = Reading(items="result.orders", total="result.meta.count", paging=Paging(next="result.meta.after"))
    body = {"result": {"orders": [{"id": 1}], "meta": {"count": 9, "after": 17}}}
    found = await fetch(Partner(answer(body)), reading)
    assert (found.records, found.total, found.next) == ([{"id": 1}], 9, {"cursor": 17})


async def test_a_server_that_gives_less_than_was_asked_for_is_read_to_its_end():
    """By number and by offset, what counts is how many came."""
    reading = Reading(path="orders", paging=Paging(style=PagingStyle.OFFSET, size=500, param="offset"))
    partner = Partner(answer({"data": [1, 2], "total": 3}), answer({"data": [3], "total": 3}))
    first = await fetch(partner, reading)
    assert (await fetch(partner, reading, position=first.next)).next is None
    assert partner.asked[1].query == "offset=2&limit=500"
    unsaid = await fetch(Partner(answer({"data": [1]})), reading)
    assert unsaid.next
    assert (await fetch(Partner(answer({"data": []})), reading, position=unsaid.next)).next is None


async def test_changes_are_asked_for_with_every_page_but_the_sealed_ones():
    reading = Reading(path="orders", query={"expand": "lines"}, cursor=CursorRule(param="since"))
    partner = Partner(answer({"data": [1], "next_cursor": "b"}), answer({"data": []}))
    first = await fetch(partner, reading, since="2026-01-01T00:00:00Z")
    await fetch(partner, reading, since="2026-01-01T00:00:00Z", position=first.next)
    assert partner.asked[0].query == "expand=lines&limit=1000&since=2026-01-01T00%3A00%3A00Z"
    assert "cursor=b" in partner.asked[1].query


async def test_validators_are_kept_for_a_single_page_and_shown_for_the_same_question():
    reading = Reading(path="orders")
    single = await fetch(Partner(answer({"data": [1]}, etag='"v1"', last_modified="yesterday")), reading)
    assert single.validators == {"query": "limit=1000", "etag": '"v1"', "last_modified": "yesterday"}
    partner = Partner(answer(b"", status=304), answer({"data": []}))
    assert (await fetch(partner, reading, validators=single.validators)).unchanged
    await fetch(partner, reading, validators=single.validators, since="2026-01-01T00:00:00Z")
    assert [named(request) for request in partner.asked] == ['"v1"', None]
    several = await fetch(Partner(answer({"data": [1], "next_cursor": "b"}, etag='"v1"')), reading)
    assert several.validators == {}


def named(request: Forward) -> str | None:
    headers: Mapping[str, str] = request.headers
    return headers.get("If-None-Match")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("7", 7), ("Fri, 20 Nov 2026 12:01:00 GMT", 60), ("Fri, 20 Nov 2026 11:00:00 GMT", 0), ("-3", 30), ("", 30)],
)
async def test_a_429_is_a_wait_of_as_long_as_it_says(given: str, seconds: int):
    with pytest.raises(SyncWait) as wait:
        await fetch(Partner(answer(b"", status=429, retry_after=given)), Reading())
    assert wait.value.seconds == seconds


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (401, "auth"),
        (403, "auth"),
        (404, "config"),
        (410, "config"),
        (500, "transient"),
        (503, "transient"),
        (408, "transient"),
    ],
)
async def test_a_status_says_whose_fault_it_is(status: int, error_class: str):
    assert (await refused(answer(b"", status=status), Reading())).error_class == error_class
    assert (await refused(answer(b"", status=status, retry_after="9"), Reading())).retry_after == 9
