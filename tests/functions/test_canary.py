"""Secrets sent in at every door, as key, header, query and body, and those that the gateway holds and makes itself:
none of them stands in the host's log, the audit trail or an answer, and none of the partners' in any table or cache.

It runs over every function there is. Twice: with all that lies behind the gateway well, and with it failing.
"""

import secrets as random_source
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

import function_app  # noqa: F401 - registers everything
from functions.http import ENDPOINTS
from shared_code.services import key_format
from shared_code.settings import load
from tests import services
from tests.functions.index import index
from tests.functions.stack import Connected, Headers, Json, connecting, first_admin
from tests.functions.test_every_function import calls
from tests.services import Service, eventually
from tests.shared_servers import ask, new_database

ONCE = ("api_key", "webhook_secret", "secret")
"""What is shown at its creation, and never again."""
PASSED_ON = {made.name for made in ENDPOINTS if made.raw_body}
"""Their bodies are another system's business, and so are its answers."""
BODIES = {made.name: made.body for made in ENDPOINTS if made.body}
ONLY_WELL = pytest.mark.parametrize("world", ["well"], indirect=True)


def opaque() -> str:
    """Nothing tells by its looks that this is a secret."""
    return "canary" + random_source.token_hex(16)


@dataclass
class World:
    """A gateway, everything it answered, and what it must never show."""

    host: Service
    env: Mapping[str, str] = field(repr=False)
    admin: Headers = field(repr=False)
    api: httpx.Client = field(repr=False)
    partner: Service
    answers: list[tuple[str, httpx.Response]] = field(default_factory=list[tuple[str, httpx.Response]])

    def call(self, name: str, method: str, path: str, **more: Any) -> httpx.Response:
        answer = self.api.request(method, path, **more)
        self.answers.append((name, answer))
        return answer

    def partners(self) -> Iterator[tuple[str, Connected]]:
        """One for each way of authentication, with its secret."""
        for method, name in (("api_key", "api_key"), ("bearer", "token"), ("basic", "password")):
            secret = opaque()
            credentials = {name: secret} | ({"username": "us"} if method == "basic" else {})
            connect = connecting(self.api, self.admin)
            where = {"api_endpoint": f"{self.partner.url}/api", "webhook_events": ["order.created"]}
            yield secret, connect(auth_method=method, credentials=credentials, **where)

    def log(self) -> str:
        return Path(self.host.part.log).read_text()

    def tables(self, *names: str) -> str:
        """Every row of these tables, or of all."""
        with psycopg.connect(self.env["DATABASE_URL"], autocommit=True) as database:
            found = database.execute("SELECT relname FROM pg_stat_user_tables").fetchall()
            wanted = [name for (name,) in found if not names or name in names]
            rows = [database.execute(f"SELECT t::text FROM {name} t".encode()).fetchall() for name in wanted]
        return "\n".join(str(row[0]) for table in rows for row in table)

    def redis(self) -> str:
        with redis.Redis.from_url(self.env["REDIS_URL"]) as client:
            return "\n".join(f"{key!r} {content(client, key)!r}" for key in client.scan_iter())


def content(client: "redis.Redis", key: bytes) -> object:
    kind = client.type(key)
    if kind == b"string":
        return client.get(key)
    return client.hgetall(key) if kind == b"hash" else client.zrange(key, 0, -1) if kind == b"zset" else kind


@pytest.fixture(scope="module", params=["well", "failing"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp(f"canary-{request.param}")
    behind = {"SVIX_URL": ask("svix").url, "SVIX_TOKEN": ask("svix").secret, "XANO_API_URL": ask("xano").url}
    with ExitStack() as closing:
        database_url = closing.enter_context(new_database())
        partner = closing.enter_context(services.start_partner(folder))
        if request.param == "failing":
            behind = {"SVIX_TOKEN": "testsk_" + random_source.token_hex(16)}
            fault = {"status": 500}
            httpx.put(f"{partner.url}/_devstack/faults", json=fault).raise_for_status()
        given = {"ADDRESS_RATE_LIMIT_PER_MINUTE": "1000000", "AUDIT_STORAGE_CONNECTION_STRING": ""} | behind
        env = services.app_environment(database_url, ask("redis").url, **given)
        admin = {"Authorization": f"Bearer {first_admin(env)}"}
        host = closing.enter_context(services.start_host(folder, env))
        api = closing.enter_context(httpx.Client(base_url=host.url, timeout=30, trust_env=False))
        yield World(host=host, env=env, admin=admin, api=api, partner=partner)


def assert_unseen(text: str, canaries: Iterable[str], where: str) -> None:
    found = [canary for canary in canaries if canary in text or canary.encode().hex() in text]
    assert found == [], f"{where}: {around(text, found[0])}"


def around(text: str, found: str) -> str:
    place = max(text.find(found), 0)
    return text[max(place - 200, 0) : place + 100]


def everything(answer: httpx.Response) -> str:
    return f"{answer.headers!r} {answer.text}"


# ── What comes in ────────────────────────────────────────────────────────────────────────────────


@ONLY_WELL
def test_a_secret_given_as_a_key_or_header_or_in_a_query_is_nowhere(world: World) -> None:
    key, signing, bearer = key_format.mint("live").text, "whsec_" + opaque(), opaque()
    canaries = [key.rpartition("_")[2], signing.removeprefix("whsec_"), bearer]
    as_key = [{"Authorization": f"Bearer {key}"}, {"X-API-Key": key + "x"}, {"Authorization": f"Basic {bearer}"}]
    as_header = {
        "User-Agent": f"curl/8 (Bearer {bearer})",
        "Cookie": f"session={bearer}",
        "X-Request-Id": signing,
        "Referer": f"https://x.example/?token={bearer}",
        "X-Forwarded-For": signing,
        "svix-id": signing,
        "svix-timestamp": "1",
        "svix-signature": f"v1,{bearer}",
    }
    in_query = dict.fromkeys(("token", "api_key", "link", "state", "code", "limit", "status", "cursor"), bearer)
    for name, method, path in calls(index().http):
        for who in [*as_key, world.admin]:
            world.call(name, method, path, headers=as_header | who, params=in_query)
        world.call(name, method, path, headers=as_header | world.admin)
    assert_unseen(world.log(), canaries, "the log")
    assert_unseen(world.tables(), canaries, "the database")
    for name, answer in world.answers:
        if name.split()[0] not in PASSED_ON or answer.status_code in (401, 403):
            assert_unseen(everything(answer), canaries, name)


@ONLY_WELL
def test_a_secret_in_a_body_is_in_no_refusal_no_log_and_no_audit_row(world: World) -> None:
    canary = "whsec_" + opaque()
    before = len(world.answers)
    for name, method, path in calls(index().http):
        for body in bodies(name.split()[0], canary):
            world.call(name, method, path, headers=world.admin, json=body)
    assert_unseen(world.log(), [canary], "the log")
    assert_unseen(world.tables("integration_logs"), [canary], "the audit trail")
    for name, answer in world.answers[before:]:
        if answer.status_code >= 400 and name.split()[0] not in PASSED_ON:
            assert_unseen(everything(answer), [canary], name)


def bodies(name: str, canary: str) -> Sequence[Json]:
    """The canary in every field that the function knows, as a text and deeper; and in fields of its own."""
    known = list(BODIES[name].model_fields) if name in BODIES else []
    hidden: Json = {"secret": canary, "password": [canary], "credentials": {"api_key": canary}}
    return [dict.fromkeys(known, canary), {each: {"token": canary} for each in known}, hidden]


# ── What partners give, and what the gateway has and makes ───────────────────────────────────────


def test_credentials_are_nowhere_but_at_the_partner(world: World) -> None:
    canaries: list[str] = []
    for secret, shop in world.partners():
        replacement = {name: opaque() for name in ("api_key", "token", "password")}
        canaries += [secret, *replacement.values()]
        use(world, shop)
        for name, value in replacement.items():
            body = {"credentials": {name: value, "username": "us"} if name == "password" else {name: value}}
            world.call("patch", "PATCH", shop.path, json=body, headers=world.admin)
        use(world, shop)
        world.call("delete", "DELETE", shop.path, headers=world.admin)
    assert_unseen(world.log(), canaries, "the log")
    assert_unseen(world.tables(), canaries, "the database")
    assert_unseen(world.redis(), canaries, "redis")
    for name, answer in world.answers:
        assert_unseen(everything(answer), canaries, name)


def use(world: World, shop: Connected) -> None:
    """The partner's API, the backend and Svix are reached, or fail."""
    world.call("test", "POST", f"{shop.path}/test", headers=world.admin)
    world.call("proxy", "GET", f"/api/proxy/{shop.id}/orders", headers=world.admin)
    world.call("get", "GET", shop.path, headers=shop.key)
    world.call("orders", "GET", "/api/v1/orders", headers=shop.key)
    event = {"event_type": "order.created", "payload": {"order_id": "1"}}
    world.call("publish", "POST", "/api/events", json=event, headers=shop.key)
    world.call("logs", "GET", "/api/logs", params={"limit": "200"}, headers=world.admin)


def test_what_is_shown_once_is_shown_once(world: World) -> None:
    shown: list[str] = []
    for _, shop in world.partners():
        hook = {"url": f"{world.partner.url}/webhooks/x", "events": ["order.created"]}
        made = [shop.answer, world.api.post("/api/webhooks/register", json=hook, headers=shop.key).json()]
        made.append(world.api.post("/api/keys", json={"name": "second"}, headers=shop.key).json())
        rotated = world.api.post(f"/api/keys/{made[-1]['key_id']}/rotate", json={}, headers=shop.key)
        made.append(rotated.json())
        shown += [answer[name] for answer in made for name in ONCE if answer.get(name)]
        before = len(world.answers)
        use(world, shop)
        for name, method, path in calls(function for function in index().http if "GET" in function.methods):
            if method == "GET":
                world.call(name, method, path, headers=shop.key)
        for name, answer in world.answers[before:]:
            assert_unseen(everything(answer), secret_parts(shown), name)
    assert len(shown) >= 12
    assert_unseen(world.log(), secret_parts(shown), "the log")
    assert_unseen(world.tables(), secret_parts(shown), "the database")
    assert_unseen(world.redis(), secret_parts(shown), "redis")


def secret_parts(shown: Iterable[str]) -> list[str]:
    """Without the id of a key, which is no secret."""
    return [text.rpartition("_")[2] for text in shown]


def test_the_gateways_own_secrets_stay_its_own(world: World) -> None:
    own = load(world.env).secrets()
    assert len(own) >= 8
    eventually(lambda: world.api.get("/api/health").status_code == 200)
    assert_unseen(world.log(), own, "the log")
    assert_unseen(world.tables(), own, "the database")
    assert_unseen(world.redis(), own, "redis")
    for name, answer in world.answers:
        assert_unseen(everything(answer), own, name)


@ONLY_WELL
def test_the_answers_that_were_searched_are_of_every_kind(world: World) -> None:
    """A search proves nothing where nothing was reached."""
    statuses = {answer.status_code for _, answer in world.answers}
    assert {200, 400, 401, 404, 422} <= statuses
    assert {name.split()[0] for name, _ in world.answers} >= {function.name for function in index().http}
    assert world.tables("integration_logs").count("partner.connected") >= 6
