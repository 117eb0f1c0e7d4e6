"""A backend that lies."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared_code.services.backend_answers import MOST_KEPT_BYTES
from tests.fault_proxy import Heard, Liar, answer, json_answer
from tests.functions.resources.backend import INVENTORY, ORDERS, Misled
from tests.functions.stack import refused
from tests.services import eventually

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


def test_a_conflict_at_the_backend_is_a_conflict_here(misled: Misled, liar: Liar):
    liar.tells(json_answer(b'{"message": "It was changed meanwhile."}', status=409))
    problem = refused(misled.gateway.api.put(f"{ORDERS}/1", json={}, headers=misled.partner.key), 409, "conflict")
    assert problem["detail"] == "It was changed meanwhile."
