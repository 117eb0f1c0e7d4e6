"""What the gateway does while a part is down: servers of its own, really killed and really hung, under load."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest
import redis

from tests import services
from tests.functions.stack import Connect, Connected, Headers, Json, connecting, first_admin, refused
from tests.services import Service, eventually
from tests.shared_servers import make_folder, migrate

ORDERS, INVENTORY = "/api/v1/orders", "/api/v1/inventory"
NEVER = "0 0 0 29 2 *"


@dataclass(frozen=True, slots=True)
class World:
    """A host and the servers it needs, each of which may be harmed."""

    host: Service
    postgres: Service
    valkey: Service
    xano: Service
    api: httpx.Client = field(repr=False)
    admin: Headers = field(repr=False)

    @property
    def connect(self) -> Connect:
        return connecting(self.api, self.admin)

    def heal(self) -> None:
        """Everything is up again, and the gateway has noticed."""
        for service in (self.postgres, self.valkey, self.xano):
            if services.gone(service.process.pid):
                service.start()
            resume(service)
        self.forget_circuits()
        eventually(self.is_well)

    def forget_circuits(self) -> None:
        """As if their fifteen seconds were over."""
        with self.redis() as client:
            for name in client.scan_iter("circuit:*"):
                client.delete(name)

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.valkey.url)

    def is_well(self) -> bool:
        test = self.api.get("/api/test", headers=self.admin)
        writes = self.api.post("/api/keys", json={"name": "probe"}, headers=self.admin)
        return (test.status_code, writes.status_code) == (200, 201) and not degraded(test)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.url, autocommit=True) as database:
            return database.execute(query.encode(), values).fetchall()


def degraded(answer: httpx.Response) -> bool:
    return "x-pinksync-degraded" in answer.headers


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    with ExitStack() as closing:
        folder = make_folder()  # PostgreSQL runs as another account, and pytest's folders are for this one alone
        closing.callback(lambda: shutil.rmtree(folder, ignore_errors=True))
        postgres = closing.enter_context(services.start_postgres(folder, durable=True))
        valkey = closing.enter_context(services.start_valkey(folder))
        xano = closing.enter_context(services.start_xano(folder))
        migrate(postgres.url, folder / "migrate.log")
        wired = {"XANO_API_URL": xano.url, "XANO_API_KEY": xano.secret, "RESOURCE_CACHE_SECONDS": "600"}
        quiet = {"OUTBOX_SCHEDULE": NEVER, "RECONCILE_SCHEDULE": NEVER, "KEY_USE_SCHEDULE": NEVER}
        env = services.app_environment(postgres.url, valkey.url, **wired, **quiet)
        admin = {"Authorization": f"Bearer {first_admin(env)}"}
        host = closing.enter_context(services.start_host(folder, env))
        api = closing.enter_context(httpx.Client(base_url=host.url, timeout=30, trust_env=False))
        yield World(host, postgres, valkey, xano, api, admin)


@pytest.fixture
def world(running: World) -> World:
    """As the last test left it, healed."""
    running.heal()
    return running


@contextmanager
def hung(service: Service) -> Iterator[None]:
    """SIGSTOP for it and its children: connections stay open, and nobody answers."""
    for process in family(service):
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        resume(service)


def resume(service: Service) -> None:
    for process in family(service):
        with suppress(psutil.NoSuchProcess):  # a server's children come and go
            process.resume()


def family(service: Service) -> list[psutil.Process]:
    head = psutil.Process(service.process.pid)
    return [head, *head.children(recursive=True)]


# ── Load ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asks again and again."""

    kind: str
    method: str = "GET"
    path: str = "/api/test"
    headers: Headers = field(default_factory=dict[str, str], repr=False)
    body: Callable[[], Json] | None = None
    anew: bool = False
    """Each time with a query that was never asked before."""

    def target(self) -> str:
        return f"{self.path}?nr={uuid4()}" if self.anew else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    kind: str
    at: float
    took: float
    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)


class Load:
    """Callers that ask all the time, from another thread, while the test does harm."""

    def __init__(self, world: World, asks: Sequence[Ask], callers: int = 20) -> None:
        self.url = world.host.url
        self.asks = [asks[number % len(asks)] for number in range(callers)]
        self.seen: list[Seen] = []
        self.over = False
        self.thread = Thread(target=lambda: asyncio.run(self.run()), daemon=True)

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False) as client:
            await asyncio.gather(*(self.call(client, ask) for ask in self.asks))

    async def call(self, client: httpx.AsyncClient, ask: Ask) -> None:
        while not self.over:
            began = time.monotonic()
            body = ask.body() if ask.body else None
            answer = await client.request(ask.method, ask.target(), headers=ask.headers, json=body)
            took = time.monotonic() - began
            seen = Seen(
                kind=ask.kind,
                at=began,
                took=took,
                status=answer.status_code,
                headers=answer.headers,
                body=answer.content,
            )
            self.seen.append(seen)
            await asyncio.sleep(0.05)

    def wait_for(self, count: int, wanted: Callable[[Seen], bool] = lambda seen: True, seconds: float = 30) -> None:
        """Until so many more answers of that sort have come."""
        start = len(self.seen)
        eventually(lambda: sum(map(wanted, self.seen[start:])) >= count, seconds)

    def of(self, kind: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.kind == kind]

    def statuses(self, kind: str) -> set[int]:
        return {seen.status for seen in self.of(kind)}

    def __enter__(self) -> Self:
        self.thread.start()
        self.wait_for(len(self.asks))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over = True
        self.thread.join(60)


def is_degraded(seen: Seen) -> bool:
    return seen.headers.get("x-pinksync-degraded") == "redis"


def is_whole(seen: Seen) -> bool:
    return "x-pinksync-degraded" not in seen.headers


def p95(seen: Sequence[Seen]) -> float:
    return sorted(each.took for each in seen)[int(len(seen) * 0.95)]


def warm(world: World, count: int = 5) -> list[Connected]:
    """Partners whose keys are proven and whose list of orders is kept."""
    partners = [world.connect() for _ in range(count)]
    for partner in partners:
        for _ in range(2):
            world.api.get(ORDERS, headers=partner.key).raise_for_status()
    return partners


def tried_and_read(partners: Sequence[Connected]) -> list[Ask]:
    return [
        ask
        for partner in partners
        for ask in (Ask(kind="test", headers=partner.key), Ask(kind="read", path=ORDERS, headers=partner.key))
    ]


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────


def test_redis_killed_under_load_costs_no_request(world: World):
    with Load(world, tried_and_read(warm(world))) as load:
        world.valkey.kill()
        load.wait_for(100, is_degraded)
        world.valkey.start()
        back = time.monotonic()
        load.wait_for(1, is_whole)
        took = time.monotonic() - back
        load.wait_for(40)
    assert load.statuses("test") == load.statuses("read") == {200}
    assert took < 10
    assert p95(load.seen) < 2
    assert all(is_whole(seen) for seen in load.seen[-20:])


def test_redis_hung_under_load_costs_no_request(world: World):
    with Load(world, tried_and_read(warm(world))) as load:
        with hung(world.valkey):
            load.wait_for(150, is_degraded)
        back = time.monotonic()
        load.wait_for(1, is_whole)
        took = time.monotonic() - back
        load.wait_for(40)
    assert load.statuses("test") == load.statuses("read") == {200}
    assert took < 10
    assert p95(load.seen) < 2
    assert max(seen.took for seen in load.seen) < 10


def test_while_redis_is_down_reads_come_from_the_backend(world: World):
    [partner] = warm(world, 1)
    world.valkey.kill()
    for _ in range(3):
        answer = world.api.get(ORDERS, headers=partner.key)
        assert (answer.status_code, answer.headers["x-cache"], degraded(answer)) == (200, "BYPASS", True)
    made = world.api.post(ORDERS, json={"number": "A-1"}, headers=partner.key)
    assert (made.status_code, degraded(made)) == (200, True)
    assert len(world.api.get(ORDERS, headers=partner.key).json()) == 1


def test_while_redis_is_down_limits_hold_in_this_process(world: World):
    partner = world.connect(rate_limit_per_minute=40)
    world.api.get("/api/test", headers=partner.key).raise_for_status()
    world.valkey.kill()
    began = time.monotonic()
    answers = [world.api.get("/api/test", headers=partner.key) for _ in range(120)]
    refilled = (time.monotonic() - began) * 40 / 60 + 1
    assert {answer.status_code for answer in answers} == {200, 429}
    assert 30 <= [answer.status_code for answer in answers].count(200) <= 40 + refilled
    last = next(answer for answer in reversed(answers) if answer.status_code == 429)
    refused(last, 429, "rate_limited")
    assert (last.headers["x-ratelimit-limit"], last.headers["x-pinksync-degraded"]) == ("40", "redis")
    assert int(last.headers["retry-after"]) >= 1


def test_while_redis_is_down_what_this_process_revokes_and_suspends_is_refused_by_it(world: World):
    revoked, suspended, untouched = warm(world, 3)
    world.valkey.kill()
    for partner in (revoked, suspended, untouched):
        assert world.api.get("/api/test", headers=partner.key).status_code == 200
    assert world.api.delete(f"/api/keys/{revoked.key_id}", headers=world.admin).status_code == 204
    assert world.api.post(f"{suspended.path}/suspend", headers=world.admin).status_code == 200
    refused(world.api.get("/api/test", headers=revoked.key), 401, "unauthorized")
    refused(world.api.get("/api/test", headers=suspended.key), 403, "partner_suspended")
    assert world.api.get("/api/test", headers=untouched.key).status_code == 200
    wrong = {"X-API-Key": untouched.api_key[:-6] + "000000"}
    refused(world.api.get("/api/test", headers=wrong), 401, "unauthorized")


def test_while_redis_is_down_what_another_process_revokes_is_seen_within_seconds(world: World):
    partner = world.connect(name="Revoked elsewhere")
    with hung(world.valkey):
        assert degraded(world.api.get("/api/test", headers=partner.key))
        world.rows("UPDATE api_keys SET revoked_at = now() WHERE key_id = %s RETURNING 1", partner.key_id)
        eventually(lambda: world.api.get("/api/test", headers=partner.key).status_code == 401, seconds=20)


def test_what_was_revoked_while_redis_was_down_stays_so_when_it_is_back(world: World):
    """Its memory survived and still says that the key is good."""
    [partner] = warm(world, 1)
    with hung(world.valkey):
        assert world.api.delete(f"/api/keys/{partner.key_id}", headers=world.admin).status_code == 204
        refused(world.api.get("/api/test", headers=partner.key), 401, "unauthorized")
    eventually(lambda: not degraded(world.api.get("/api/test", headers=world.admin)))
    with world.redis() as client:
        assert client.exists(f"state:{partner.key_id}")
    refused(world.api.get("/api/test", headers=partner.key), 401, "unauthorized")


def test_a_redis_that_lost_its_memory_costs_no_request(world: World):
    """As a cache without persistence comes back after a failure: all proofs and grants are gone at once."""
    with Load(world, tried_and_read(warm(world))) as load:
        for _ in range(3):
            with world.redis() as client:
                client.flushdb()
                client.script_flush()
            load.wait_for(40)
    assert load.statuses("test") == load.statuses("read") == {200}


def test_a_full_redis_counts_as_down_and_costs_no_request(world: World):
    """`noeviction` at its limit: it answers reads, and refuses every write."""
    with Load(world, tried_and_read(warm(world, 2)), callers=4) as load:
        with world.redis() as client:
            client.config_set("maxmemory", "1mb")
            load.wait_for(10, is_degraded)
            client.config_set("maxmemory", "0")
        load.wait_for(4, is_whole)
    assert load.statuses("test") == load.statuses("read") == {200}


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────


def writes(partner: Connected) -> Ask:
    return Ask(
        kind="write",
        method="POST",
        path="/api/keys",
        headers=partner.key,
        body=lambda: {"name": f"key {uuid4()}", "scopes": ["read:orders"]},
    )


def check_nothing_is_half_done(world: World, partner: Connected, load: Load) -> None:
    """Each accepted key is there with its audit row; and nothing is there without one."""
    accepted = {
        httpx.Response(200, content=seen.body).json()["key_id"] for seen in load.of("write") if seen.status == 201
    }
    rows = world.rows("SELECT key_id FROM api_keys WHERE partner_id = %s AND name LIKE 'key %%'", partner.id)
    noted = world.rows(
        """SELECT target FROM integration_logs
           WHERE partner_id = %s AND event_type = 'api_key.created' AND target <> %s""",
        partner.id,
        partner.key_id,
    )
    assert accepted <= {key_id for (key_id,) in rows}
    assert sorted(rows) == sorted(noted)


def check_refusals(load: Load) -> None:
    failed = [seen for seen in load.of("write") if seen.status != 201]
    assert failed
    for seen in failed:
        assert (seen.status, seen.headers["content-type"]) == (503, "application/problem+json")
        assert int(seen.headers["retry-after"]) >= 1


def test_postgres_restarted_under_load_leaves_warm_calls_and_kept_reads_alone(world: World):
    partners = warm(world)
    with Load(world, [*tried_and_read(partners), writes(partners[0]), writes(partners[0])]) as load:
        load.wait_for(2, lambda seen: seen.kind == "write")
        world.postgres.stop()
        load.wait_for(2, lambda seen: seen.kind == "write" and seen.status == 503)
        world.postgres.start()
        back = time.monotonic()
        load.wait_for(2, lambda seen: seen.kind == "write" and seen.status == 201)
        took = time.monotonic() - back
    assert load.statuses("test") == load.statuses("read") == {200}
    assert {seen.headers["x-cache"] for seen in load.of("read")} == {"HIT"}
    assert took < 25
    check_refusals(load)
    check_nothing_is_half_done(world, partners[0], load)


def test_postgres_killed_under_load_loses_nothing_that_was_accepted(world: World):
    partners = warm(world)
    with Load(world, [*tried_and_read(partners), *[writes(partners[0])] * 4]) as load:
        load.wait_for(4, lambda seen: seen.kind == "write" and seen.status == 201)
        world.postgres.kill()
        load.wait_for(1, lambda seen: seen.kind == "write" and seen.status == 503)
        eventually(lambda: started(world.postgres))
        load.wait_for(4, lambda seen: seen.kind == "write" and seen.status == 201)
    assert load.statuses("test") == load.statuses("read") == {200}
    check_refusals(load)
    check_nothing_is_half_done(world, partners[0], load)


def started(service: Service) -> bool:
    """After a crash PostgreSQL may wait for the last of its children to go."""
    try:
        service.start()
    except Exception:
        return False
    return True


def test_postgres_hung_under_load_leaves_warm_calls_alone_and_refuses_writes_in_time(world: World):
    partners = warm(world)
    with Load(world, [*tried_and_read(partners), writes(partners[0])]) as load:
        with hung(world.postgres):
            load.wait_for(1, lambda seen: seen.kind == "write" and seen.status == 503, 25)
            load.wait_for(20, lambda seen: seen.kind == "read")
        load.wait_for(2, lambda seen: seen.kind == "write" and seen.status == 201)
    assert load.statuses("test") == load.statuses("read") == {200}
    check_refusals(load)
    check_nothing_is_half_done(world, partners[0], load)
    assert max(seen.took for seen in load.of("write")) < 25


def test_while_postgres_is_down_an_unknown_key_is_a_503_and_a_malformed_one_still_a_401(world: World):
    fresh = world.connect()
    world.postgres.stop()
    answer = world.api.get("/api/test", headers=fresh.key)
    refused(answer, 503, "store_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    refused(world.api.get("/api/test", headers={"X-API-Key": "pk_live_nonsense"}), 401, "unauthorized")
    assert world.api.get("/api/health").status_code == 200


def test_while_postgres_is_down_a_post_with_an_idempotency_key_does_nothing_at_all(world: World):
    [partner] = warm(world, 1)
    once = partner.key | {"Idempotency-Key": "order-1"}
    world.postgres.stop()
    refused(world.api.post(ORDERS, json={"number": "A-1"}, headers=once), 503, "store_unavailable")
    assert world.api.get(ORDERS, headers=partner.key | {"Cache-Control": "no-cache"}).json() == []
    world.heal()
    made = world.api.post(ORDERS, json={"number": "A-1"}, headers=once)
    assert (made.status_code, "idempotency-replayed" in made.headers) == (200, False)
    assert len(world.api.get(ORDERS, headers=partner.key).json()) == 1


# ── Xano ─────────────────────────────────────────────────────────────────────────────────────────


def test_xano_killed_under_load_harms_only_what_needs_it(world: World):
    partners = warm(world)
    missing = [Ask(kind="miss", path=INVENTORY, headers=partner.key, anew=True) for partner in partners]
    with Load(world, [*tried_and_read(partners), *missing, writes(partners[0])]) as load:
        world.xano.kill()
        load.wait_for(10, lambda seen: seen.kind == "miss" and seen.status == 503)
        opened = time.monotonic()
        load.wait_for(40, lambda seen: seen.kind == "miss")
        load.wait_for(2, lambda seen: seen.kind == "write")
        world.xano.start()
        world.forget_circuits()
        load.wait_for(10, lambda seen: seen.kind == "miss" and seen.status == 200, 40)
    assert load.statuses("test") == load.statuses("read") == {200}
    assert load.statuses("write") == {201}
    assert load.statuses("miss") == {200, 503}
    later = [seen.took for seen in load.of("miss") if seen.at > opened and seen.status == 503]
    quick = sorted(later)[len(later) // 2]
    assert quick < 3 * p95(load.of("test")) + 0.05


def test_all_three_down_at_once_and_the_gateway_still_answers_in_words(world: World):
    [partner] = warm(world, 1)
    for service in (world.valkey, world.postgres, world.xano):
        service.kill()
    routes = [("GET", "/api/test"), ("GET", ORDERS), ("POST", ORDERS), ("POST", "/api/keys")]
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda route: world.api.request(*route, headers=partner.key), routes):
            refused(answer, 503)
            assert int(answer.headers["retry-after"]) >= 1
    assert world.api.get("/api/health").status_code == 200
