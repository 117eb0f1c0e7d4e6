"""Two hosts on the same database and Redis: what one changes the other knows, and what both count is one count."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import redis

from tests import services
from tests.functions import oauth
from tests.functions.stack import Connect, Connected, Headers, Json, connecting, first_admin, refused
from tests.services import Service, eventually
from tests.shared_servers import ask, new_database

RENEWALS = int(os.environ.get("OAUTH_RENEWALS", "3"))
NEVER = "0 0 0 29 2 *"
"""These tests fire the timers themselves."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two hosts; `one` and `two` are their clients."""

    hosts: tuple[Service, Service]
    one: httpx.Client = field(repr=False)
    two: httpx.Client = field(repr=False)
    admin: Headers = field(repr=False)
    database_url: str = field(repr=False)

    @property
    def connect(self) -> Connect:
        return connecting(self.one, self.admin)

    def settle(self, *keys: Headers) -> None:
        """Both know the keys, and neither takes Redis for dead, as one that is starting or starved may do."""
        for api in (self.one, self.two):
            for key in keys:
                eventually(lambda api=api, key=key: knows(api, key))

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as database:
            return database.execute(query.encode(), values).fetchall()


def knows(api: httpx.Client, key: Headers) -> bool:
    answer = api.get("/api/test", headers=key)
    return answer.status_code == 200 and "x-pinksync-degraded" not in answer.headers


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as closing:
        database_url = closing.enter_context(new_database())
        quiet = {"OUTBOX_SCHEDULE": NEVER, "RECONCILE_SCHEDULE": NEVER, "KEY_USE_SCHEDULE": NEVER}
        env = services.app_environment(database_url, ask("redis").url, **quiet)
        admin = {"Authorization": f"Bearer {first_admin(env)}"}
        first = closing.enter_context(services.start_host(tmp_path_factory.mktemp("one"), env))
        second = closing.enter_context(services.start_host(tmp_path_factory.mktemp("two"), env, public_url=first.url))
        one, two = (
            closing.enter_context(httpx.Client(base_url=host.url, timeout=20, trust_env=False))
            for host in (first, second)
        )
        yield Pair((first, second), one, two, admin, database_url)


@pytest.fixture
async def many(pair: Pair) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Clients of both hosts for hundreds of calls at once."""
    limits = httpx.Limits(max_connections=200)
    async with (
        httpx.AsyncClient(base_url=pair.hosts[0].url, timeout=30, limits=limits, trust_env=False) as one,
        httpx.AsyncClient(base_url=pair.hosts[1].url, timeout=30, limits=limits, trust_env=False) as two,
    ):
        yield one, two


# ── A change on one is known to the other ────────────────────────────────────────────────────────

ROUNDS = 12


def new_key(pair: Pair, partner: Connected) -> tuple[str, Headers]:
    made = pair.one.post("/api/keys", json={"name": "another"}, headers=partner.key)
    assert made.status_code == 201, made.text
    return made.json()["key_id"], {"X-API-Key": made.json()["api_key"]}


def test_a_revoked_key_is_refused_by_the_other_on_its_next_request(pair: Pair):
    partner = pair.connect()
    keys = [new_key(pair, partner) for _ in range(ROUNDS)]
    pair.settle(partner.key, *(key for _, key in keys))
    for turn, (key_id, key) in enumerate(keys):
        here, there = (pair.one, pair.two) if turn % 2 else (pair.two, pair.one)
        assert here.delete(f"/api/keys/{key_id}", headers=partner.key).status_code == 204
        refused(there.get("/api/test", headers=key), 401, "unauthorized")
        refused(here.get("/api/test", headers=key), 401, "unauthorized")
        assert there.get("/api/test", headers=partner.key).status_code == 200


def test_a_suspended_partner_is_refused_by_the_other_until_it_is_active_again(pair: Pair):
    partner, bystander = pair.connect(), pair.connect()
    pair.settle(partner.key, bystander.key)
    for turn in range(ROUNDS):
        here, there = (pair.one, pair.two) if turn % 2 else (pair.two, pair.one)
        here.post(f"{partner.path}/suspend", headers=pair.admin).raise_for_status()
        refused(there.get("/api/test", headers=partner.key), 403, "partner_suspended")
        assert there.get("/api/test", headers=bystander.key).status_code == 200
        there.post(f"{partner.path}/activate", headers=pair.admin).raise_for_status()
        assert here.get("/api/test", headers=partner.key).status_code == 200


def test_a_removed_partners_keys_are_refused_by_the_other(pair: Pair):
    for _ in range(4):
        partner = pair.connect()
        pair.settle(partner.key)
        assert pair.one.delete(partner.path, headers=pair.admin).status_code == 204
        refused(pair.two.get("/api/test", headers=partner.key), 401, "unauthorized")


def test_a_rotated_key_is_refused_by_the_other_and_the_new_one_works_there(pair: Pair):
    partner = pair.connect()
    key_id, key = partner.key_id, partner.key
    for turn in range(ROUNDS):
        pair.settle(key)
        here, there = (pair.one, pair.two) if turn % 2 else (pair.two, pair.one)
        made = here.post(f"/api/keys/{key_id}/rotate", json={"grace_seconds": 0}, headers=key)
        assert made.status_code == 201, made.text
        refused(there.get("/api/test", headers=key), 401, "unauthorized")
        key_id, key = made.json()["key_id"], {"X-API-Key": made.json()["api_key"]}
        assert there.get("/api/test", headers=key).status_code == 200


def test_a_rotated_key_works_on_both_while_its_grace_lasts(pair: Pair):
    partner = pair.connect()
    pair.settle(partner.key)
    made = pair.one.post(f"/api/keys/{partner.key_id}/rotate", json={"grace_seconds": 600}, headers=partner.key)
    new = {"X-API-Key": made.json()["api_key"]}
    for api in (pair.one, pair.two):
        assert [api.get("/api/test", headers=key).status_code for key in (partner.key, new)] == [200, 200]


def test_a_new_limit_holds_on_the_other_from_its_next_request(pair: Pair):
    partner = pair.connect()
    pair.settle(partner.key)
    for turn in range(ROUNDS):
        here, there = (pair.one, pair.two) if turn % 2 else (pair.two, pair.one)
        limit = 50_000 + turn
        body = {"rate_limit_per_minute": limit}
        here.patch(partner.path, json=body, headers=pair.admin).raise_for_status()
        answer = there.get("/api/test", headers=partner.key)
        assert (answer.headers["x-ratelimit-limit"], answer.json()["rate_limit"]["limit"]) == (str(limit), limit)


def test_a_key_of_fewer_scopes_and_a_lower_limit_is_known_so_to_the_other(pair: Pair):
    """A key's scopes and limit never change: another key has them, from its first request on."""
    partner = pair.connect()
    pair.settle(partner.key)
    body = {"name": "narrow", "scopes": ["read:inventory"], "rate_limit_per_minute": 77, "partner_id": partner.id}
    key = {"X-API-Key": pair.one.post("/api/keys", json=body, headers=pair.admin).json()["api_key"]}
    answer = pair.two.get("/api/test", headers=key)
    assert (answer.json()["scopes"], answer.headers["x-ratelimit-limit"]) == (["read:inventory"], "77")
    refused(pair.two.get("/api/v1/orders", headers=key), 403, "insufficient_scope")
    refused(pair.two.post("/api/events", json={}, headers=key), 403, "insufficient_scope")


async def test_nobody_slips_through_while_the_change_is_made(
    pair: Pair, many: tuple[httpx.AsyncClient, httpx.AsyncClient]
):
    """Under a storm of requests to both: once the change is answered, no request that starts later is let in."""
    for _ in range(4):
        partner = pair.connect()
        await asyncio.to_thread(pair.settle, partner.key)
        revoked_at: list[float] = []
        seen: list[tuple[float, int]] = []
        calling = [asyncio.ensure_future(storm(client, partner.key, seen)) for client in many for _ in range(4)]
        await asyncio.sleep(0.2)
        answer = await many[0].delete(f"/api/keys/{partner.key_id}", headers=partner.key)
        revoked_at.append(time.monotonic())
        assert answer.status_code == 204
        await asyncio.sleep(0.3)
        for each in calling:
            each.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
        late = [status for began, status in seen if began > revoked_at[0]]
        assert late
        assert set(late) == {401}
        assert {status for _, status in seen} == {200, 401}


async def storm(client: httpx.AsyncClient, key: Headers, seen: list[tuple[float, int]]) -> None:
    while True:
        began = time.monotonic()
        seen.append((began, (await client.get("/api/test", headers=key)).status_code))


# ── What both count is one count ─────────────────────────────────────────────────────────────────


async def test_of_four_hundred_calls_at_once_over_both_exactly_the_entitled_pass(pair: Pair):
    """100, and one more for every 0.6 seconds that it takes. A starved host may have had to ask Redis twice."""
    again = asked_again(pair)
    answers, took = await burst(pair, 400)
    for _ in range(4):
        if any("x-pinksync-degraded" in headers for _, headers, _ in answers):
            again = asked_again(pair)
            answers, took = await burst(pair, 400)  # it even took Redis for dead, and counted alone
    passed = [status for status, _, _ in answers].count(200)
    turned_away = [(headers, problem) for status, headers, problem in answers if status == 429]
    assert passed + len(turned_away) == 401
    assert 100 - (asked_again(pair) - again) <= passed <= 100 + took / 0.6
    for headers, problem in turned_away:
        assert (problem["code"], problem["error"]) == ("rate_limited", "Rate limit exceeded")
        assert int(headers["retry-after"]) >= 1
        assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("100", "0")


def asked_again(pair: Pair) -> int:
    return sum(host.part.log.read_text().count("asked again") for host in pair.hosts)


type Answer = tuple[int, dict[str, str], Json]


async def burst(pair: Pair, calls: int) -> tuple[list[Answer], float]:
    """The answers to one call of a new partner's, and then to so many at once over both hosts; and the time it took."""
    partner = pair.connect(rate_limit_per_minute=100)
    pair.settle(pair.admin)
    began = time.monotonic()
    first = await get_test(pair.hosts[0], partner.key)
    rest = await asyncio.gather(*(get_test(pair.hosts[turn % 2], partner.key) for turn in range(calls)))
    return [first, *rest], time.monotonic() - began


async def get_test(host: Service, key: Headers) -> Answer:
    """GET /api/test on a connection of its own: a library would not send hundreds in the same moment."""
    url = httpx.URL(host.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in key.items())
    writer.write(f"GET /api/test HTTP/1.1\r\nHost: x\r\n{head}Connection: close\r\n\r\n".encode())
    raw_head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *lines = raw_head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, json.loads(body)


async def test_a_new_key_that_forty_use_at_once_is_proven_once_for_all(pair: Pair):
    partner = pair.connect()
    answers = await asyncio.gather(*(get_test(pair.hosts[0], partner.key) for _ in range(40)))
    assert {status for status, _, _ in answers} == {200}


def test_ten_refusals_over_both_are_told_once(pair: Pair):
    partner = pair.connect(rate_limit_per_minute=1)
    pair.settle(pair.admin)
    answers = [(pair.one, pair.two)[turn % 2].get("/api/test", headers=partner.key) for turn in range(9)]
    assert [answer.status_code for answer in answers] == [200] + [429] * 8
    assert told(pair, partner) == ([], 0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda turn: (pair.one, pair.two)[turn % 2].get("/api/test", headers=partner.key), range(24)))
    logs, events = told(pair, partner)
    assert (len(logs), events) == (1, 1)
    assert (logs[0]["severity"], logs[0]["target"], logs[0]["partner_id"]) == ("warning", partner.id, partner.id)
    assert "10" in logs[0]["message"]


def told(pair: Pair, partner: Connected) -> tuple[list[Json], int]:
    """The audit rows and the number of events about this partner's refusals."""
    path = f"/api/logs?partner_id={partner.id}&event_type=partner.rate_limited"
    logs = pair.two.get(path, headers=pair.admin).json()["logs"]
    query = "SELECT payload FROM events WHERE partner_id = %s AND event_type = 'partner.rate_limited'"
    payloads = [payload for (payload,) in pair.rows(query, partner.id)]
    assert payloads in ([], [{"partner_id": partner.id, "refusals": 10, "limit_per_minute": 1}])
    return logs, len(payloads)


async def test_twenty_posts_at_once_with_one_idempotency_key_are_one_execution(
    pair: Pair, many: tuple[httpx.AsyncClient, httpx.AsyncClient]
):
    partner = pair.connect()
    pair.settle(partner.key)
    for turn in range(3):
        body = {"name": f"made once {turn}"}
        key = partner.key | {"Idempotency-Key": f"once-{turn}-{uuid4()}"}
        calls = (many[each % 2].post("/api/keys", json=body, headers=key) for each in range(20))
        answers = await asyncio.gather(*calls)
        made = [answer for answer in answers if answer.status_code == 201]
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.content for answer in made}) == 1
        assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1
        for answer in answers:
            if answer.status_code == 409:
                refused(answer, 409, "idempotency_in_flight")
        later = await many[turn % 2].post("/api/keys", json=body, headers=key)
        assert (later.status_code, later.content, later.headers["idempotency-replayed"]) == (
            201,
            made[0].content,
            "true",
        )
        listed = pair.one.get("/api/keys?limit=200", headers=partner.key).json()["keys"]
        assert [each["name"] for each in listed].count(body["name"]) == 1


# ── When keys were last used ─────────────────────────────────────────────────────────────────────


def fire(host: Service, timer: str) -> None:
    answer = httpx.post(f"{host.url}/admin/functions/{timer}", json={}, headers={"x-functions-key": host.secret})
    assert answer.status_code == 202


def last_used(pair: Pair, partner: Connected) -> Any:
    keys = pair.one.get(f"/api/keys?partner_id={partner.id}", headers=pair.admin).json()["keys"]
    return keys[0]["last_used_at"]


def test_when_a_key_was_last_used_is_written_by_the_timer_and_by_no_request(pair: Pair):
    partner = pair.connect()
    for api in (pair.one, pair.two) * 5:
        api.get("/api/test", headers=partner.key).raise_for_status()
    assert last_used(pair, partner) is None
    before = pair.rows("SELECT now()")[0][0]
    fire(pair.hosts[1], "key_use_flush")
    eventually(lambda: last_used(pair, partner))
    [(used,)] = pair.rows("SELECT last_used_at FROM api_keys WHERE key_id = %s", partner.key_id)
    assert abs((before - used).total_seconds()) < 60


def test_a_flush_writes_each_key_once_however_busy_it_is(pair: Pair):
    """The keys go on being used while it runs; it ends all the same."""
    partners = [pair.connect() for _ in range(3)]
    pair.settle(*(partner.key for partner in partners))
    count_writes(pair)
    stop = Event()

    def go_on(partner: Connected) -> None:
        while not stop.is_set():
            pair.one.get("/api/test", headers=partner.key)

    with ThreadPoolExecutor(3) as pool:
        calling = [pool.submit(go_on, partner) for partner in partners]
        time.sleep(0.2)
        fire(pair.hosts[0], "key_use_flush")
        for partner in partners:
            eventually(lambda partner=partner: writes(pair, partner))
        time.sleep(0.5)
        stop.set()
        for each in calling:
            each.result()
    assert [writes(pair, partner) for partner in partners] == [1, 1, 1]


def count_writes(pair: Pair) -> None:
    """Every change of `last_used_at` from now on leaves a row."""
    with psycopg.connect(pair.database_url, autocommit=True) as database:
        database.execute(
            """CREATE TABLE used_writes (key_id text);
               CREATE FUNCTION note_use() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO used_writes VALUES (NEW.key_id); RETURN NEW; END';
               CREATE TRIGGER note_use AFTER UPDATE OF last_used_at ON api_keys
                 FOR EACH ROW EXECUTE FUNCTION note_use()"""
        )


def writes(pair: Pair, partner: Connected) -> int:
    return pair.rows("SELECT count(*) FROM used_writes WHERE key_id = %s", partner.key_id)[0][0]


def test_a_thousand_keys_and_more_are_written_in_one_run(pair: Pair):
    """More marks than a batch holds, put where requests would put them."""
    partner = pair.connect()
    pair.rows(
        """INSERT INTO api_keys (key_id, key_hash, partner_id, name, scopes)
           SELECT 'pk_live_many' || number, 'x', %s, 'many', '{read:*}' FROM generate_series(1, 2500) AS number
           RETURNING 1""",
        partner.id,
    )
    with redis.Redis.from_url(redis_of(pair)) as client:
        client.zadd("used", {f"pk_live_many{number}": time.time() for number in range(1, 2501)})
    fire(pair.hosts[0], "key_use_flush")
    written = "SELECT count(last_used_at) FROM api_keys WHERE partner_id = %s"
    assert eventually(lambda: pair.rows(written, partner.id)[0][0] >= 2500)


def redis_of(pair: Pair) -> str:
    return dict(pair.hosts[0].part.env)["REDIS_URL"]


# ── One token for both ───────────────────────────────────────────────────────────────────────────


def ended(pair: Pair, partner: Connected) -> None:
    query = (
        """UPDATE oauth_connections SET expires_at = now() - interval '1 second' WHERE partner_id = %s RETURNING 1"""
    )
    assert pair.rows(query, partner.id)


@pytest.mark.parametrize("rotate", [False, True])
async def test_fifty_calls_at_once_with_a_token_that_has_ended_renew_it_once(
    pair: Pair, many: tuple[httpx.AsyncClient, httpx.AsyncClient], rotate: bool
):
    server = oauth.Server(ask("partner").url)
    partner = oauth.connected_partner(pair.one, pair.admin, pair.connect, server)
    pair.settle(pair.admin)
    server.behaves(rotate=rotate, delay_ms=300)
    for turn in range(1, RENEWALS + 1):
        ended(pair, partner)
        server.rejects_access_tokens()
        path = f"/api/proxy/{partner.id}/orders?limit=1"
        answers = await asyncio.gather(*(many[each % 2].get(path, headers=pair.admin) for each in range(50)))
        assert [answer.status_code for answer in answers] == [200] * 50
        assert server.counts()["refreshes"] == turn


async def test_fifty_calls_at_once_that_are_answered_401_renew_the_token_once(
    pair: Pair, many: tuple[httpx.AsyncClient, httpx.AsyncClient]
):
    server = oauth.Server(ask("partner").url)
    partner = oauth.connected_partner(pair.one, pair.admin, pair.connect, server)
    pair.settle(pair.admin)
    server.behaves(rotate=True, delay_ms=300)
    server.rejects_access_tokens()
    path = f"/api/proxy/{partner.id}/orders?limit=1"
    answers = await asyncio.gather(*(many[each % 2].get(path, headers=pair.admin) for each in range(50)))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert server.counts()["refreshes"] == 1


async def test_a_call_that_is_given_up_does_not_lose_the_token_that_was_on_its_way(
    pair: Pair, many: tuple[httpx.AsyncClient, httpx.AsyncClient]
):
    """The other side has taken the old refresh token back by then: the new one must be kept."""
    server = oauth.Server(ask("partner").url)
    partner = oauth.connected_partner(pair.one, pair.admin, pair.connect, server)
    server.behaves(rotate=True, delay_ms=500)
    ended(pair, partner)
    path = f"/api/proxy/{partner.id}/orders?limit=1"
    with pytest.raises(httpx.ReadTimeout):
        await many[0].get(path, headers=pair.admin, timeout=httpx.Timeout(5, read=0.2))
    answer = await many[1].get(path, headers=pair.admin)
    assert answer.status_code == 200
    assert server.counts()["refreshes"] == 1


async def test_of_sixty_returns_with_one_state_over_both_one_connects(
    pair: Pair, many: tuple[httpx.AsyncClient, httpx.AsyncClient]
):
    server = oauth.Server(ask("partner").url)
    partner = oauth.oauth_partner(pair.connect, server.url)
    oauth.put_settings(pair.one, pair.admin, partner, server.settings())
    trip = oauth.depart(pair.one, oauth.new_link(pair.one, pair.admin, partner))
    path = "/oauth/callback?" + oauth.granted(trip).partition("?")[2]
    answers = await asyncio.gather(*(many[each % 2].get(path, headers=trip.headers) for each in range(60)))
    pages = Counter(answer.text.partition("Reason: <code>")[2].partition("<")[0] for answer in answers)
    assert pages == {"": 1, "state_used": 59}
    assert server.counts()["codes"] == 1
