"""The limit of a partner: told on every answer, held to the request, and shared by all its keys."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.functions.stack import Connect, Connected, Headers, refused, steadily


def asked(api: httpx.Client, partner: Connected) -> httpx.Response:
    return api.get("/api/test", headers=partner.key)


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


def test_five_a_minute_are_five_and_the_sixth_is_told_when(api: httpx.Client, connect: Connect) -> None:
    def play() -> list[httpx.Response]:
        partner = connect(rate_limit_per_minute=5)
        return [asked(api, partner) for _ in range(6)]

    answers = steadily(play)
    assert statuses(answers) == [200] * 5 + [429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]
    assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"5"}
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"default";q=5;w=60'}
    assert all(0 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61 for answer in answers)


def test_the_refusal_says_so_in_every_way(api: httpx.Client, connect: Connect) -> None:
    def play() -> list[httpx.Response]:
        partner = connect(rate_limit_per_minute=1)
        return [asked(api, partner) for _ in range(2)]

    answer = steadily(play)[1]
    problem = refused(answer, 429, "rate_limited")
    assert problem["error"] == "Rate limit exceeded"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit"].startswith('"default";r=0;t=')


def test_the_answer_itself_tells_the_same_as_its_headers(api: httpx.Client, connect: Connect) -> None:
    answer = asked(api, connect(rate_limit_per_minute=7))
    told = answer.json()["rate_limit"]
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    assert [str(value) for value in told.values()] == [answer.headers[name] for name in names]


def test_many_at_once_are_let_through_exactly_to_the_limit(api: httpx.Client, connect: Connect) -> None:
    def play() -> list[httpx.Response]:
        partner = connect(rate_limit_per_minute=10)
        first = asked(api, partner)
        with ThreadPoolExecutor(8) as pool:
            return [first, *pool.map(lambda _: asked(api, partner), range(24))]

    found = statuses(steadily(play))
    assert (found.count(200), found.count(429)) == (10, 15)


def test_all_keys_of_a_partner_share_its_limit(api: httpx.Client, connect: Connect) -> None:
    def play() -> list[httpx.Response]:
        partner = connect(rate_limit_per_minute=3)
        made = api.post("/api/keys", json={"name": "x"}, headers=partner.key)
        second = {"X-API-Key": made.json()["api_key"]}
        return [made, *(api.get("/api/test", headers=key) for key in (second, partner.key, second))]

    assert statuses(steadily(play)) == [201, 200, 200, 429]


def test_one_partners_noise_is_not_anothers(api: httpx.Client, connect: Connect) -> None:
    def play() -> list[httpx.Response]:
        loud, quiet = connect(rate_limit_per_minute=1), connect(rate_limit_per_minute=1)
        return [asked(api, partner) for partner in (loud, loud, loud, quiet)]

    assert statuses(steadily(play)) == [200, 429, 429, 200]


def test_waiting_as_long_as_told_helps(api: httpx.Client, connect: Connect) -> None:
    def play() -> list[httpx.Response]:
        partner = connect(rate_limit_per_minute=60)
        answers = [asked(api, partner)]
        while answers[-1].status_code == 200:
            answers.append(asked(api, partner))
        time.sleep(int(answers[-1].headers["retry-after"]))
        return [*answers, asked(api, partner)]

    assert statuses(steadily(play))[-2:] == [429, 200]


def test_a_refused_request_does_nothing(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    def play() -> list[httpx.Response]:
        partner = connect(rate_limit_per_minute=1)
        wishes = [api.post("/api/keys", json={"name": "x"}, headers=partner.key) for _ in range(2)]
        return [*wishes, api.get("/api/keys", params={"partner_id": partner.id}, headers=admin)]

    answers = steadily(play)
    assert statuses(answers) == [201, 429, 200]
    assert answers[2].json()["total"] == 2


def test_a_key_may_have_a_limit_of_its_own(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    def play() -> list[httpx.Response]:
        body = {"name": "x", "partner_id": connect().id, "rate_limit_per_minute": 2}
        key = {"X-API-Key": api.post("/api/keys", json=body, headers=admin).json()["api_key"]}
        return [api.get("/api/test", headers=key) for _ in range(3)]

    assert statuses(steadily(play)) == [200, 200, 429]


def test_the_first_burst_of_a_new_key_is_let_in(api: httpx.Client, connect: Connect) -> None:
    partner = connect()
    with ThreadPoolExecutor(20) as pool:
        answers = pool.map(lambda _: api.get("/api/test", headers=partner.key).status_code, range(20))
        assert set(answers) == {200}
