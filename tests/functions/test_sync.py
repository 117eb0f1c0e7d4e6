"""Syncs through the front door: started, watched, cancelled; and workers that are killed or fall asleep at work.

PINKSYNC_SYNC_RECORDS=100000 PINKSYNC_SYNC_KILLS=10 is the whole of it; by default it is a small one.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests import services
from tests.functions.oauth import Server, connected_partner, connection
from tests.functions.stack import (
    Connect,
    Connected,
    Headers,
    Json,
    Receiver,
    Stack,
    connecting,
    pointers,
    publish,
    refused,
    register,
    running_stack,
)
from tests.services import Service, eventually, web
from tests.shared_servers import ask

RECORDS = int(os.environ.get("PINKSYNC_SYNC_RECORDS", "1000"))
KILLS = int(os.environ.get("PINKSYNC_SYNC_KILLS", "2"))
PAGE = max(50, RECORDS // 100)
PATIENCE = 60 + RECORDS / 200
ENDED = ("completed", "failed", "cancelled")
SYNC = {"SYNC_SLICE_SECONDS": "3", "SYNC_LEASE_SECONDS": "2"}


@dataclass(frozen=True, slots=True)
class World:
    """A gateway with a partner and a backend of its own."""

    stack: Stack
    folder: Path
    shop: Service
    xano: Service
    api: httpx.Client = field(repr=False)
    connect: Connect

    def connected(self, **changes: Any) -> Connected:
        endpoint, credentials = f"{self.shop.url}/api", {"api_key": self.shop.secret}
        return self.connect(**{"api_endpoint": endpoint, "credentials": credentials, **changes})

    def shop_is(self, orders: int, **fault: Any) -> None:
        """So many orders, all new, and a partner that behaves in this way."""
        web.put(f"{self.shop.url}/_devstack/seed", json={"orders": orders}).raise_for_status()
        web.put(f"{self.shop.url}/_devstack/faults", json=fault).raise_for_status()

    def touch(self, numbers: Sequence[int]) -> None:
        body = {"resource": "orders", "ids": list(numbers)}
        web.put(f"{self.shop.url}/_devstack/touch", json=body, timeout=30).raise_for_status()

    def configure(self, partner: Connected, **body: Any) -> Json:
        answer = self.api.put(f"{partner.path}/sync/orders", json=body, headers=self.stack.admin)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def start(self, partner: Connected, **body: Any) -> httpx.Response:
        return self.api.post(
            "/api/sync/jobs", json={"job_type": "full_sync", "resource": "orders"} | body, headers=partner.key
        )

    def started(self, partner: Connected, **body: Any) -> str:
        answer = self.start(partner, **body)
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def job(self, partner: Connected, location: str) -> Json:
        answer = self.api.get(location, headers=partner.key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, partner: Connected, location: str) -> Json:
        def look() -> Json | None:
            job = self.job(partner, location)
            return job if job["status"] in ENDED else None

        return eventually(look, PATIENCE)

    def rows(self, partner: Connected) -> Mapping[str, Json]:
        headers = {"Authorization": f"Bearer {self.xano.secret}", "X-Partner-Id": partner.id}
        answer = web.get(f"{self.xano.url}/orders", headers=headers, timeout=60).raise_for_status()
        return {row["external_id"]: row for row in answer.json()}

    def asked(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.env["DATABASE_URL"], autocommit=True) as connection:
            return connection.execute(query, values).fetchall()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("sync")
    with services.start_partner(folder) as shop, services.start_xano(folder) as xano:
        backend = {"XANO_API_URL": xano.url, "XANO_API_KEY": xano.secret}
        with (
            running_stack(folder, ask("svix"), ask("partner"), **SYNC, **backend) as stack,
            httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as api,
        ):
            yield World(stack, folder, shop, xano, api, connecting(api, stack.admin))


@pytest.fixture
def admin(world: World) -> Headers:
    return world.stack.admin


# ── The routes ───────────────────────────────────────────────────────────────────────────────────


def test_a_sync_is_accepted_runs_and_can_be_watched(world: World, admin: Headers) -> None:
    world.shop_is(orders=120)
    partner = world.connected()
    answer = world.start(partner)
    job = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/api/sync/jobs/{job['job_id']}")
    assert (job["status"], job["job_type"], job["resource"]) == ("pending", "full_sync", "orders")
    done = world.ended(partner, answer.headers["Location"])
    assert (done["status"], done["progress_percent"]) == ("completed", 100.0)
    assert (done["records_processed"], done["records_total"], done["error_message"]) == (120, 120, None)
    assert done["created_at"] <= done["started_at"] <= done["completed_at"]
    assert len(world.rows(partner)) == 120
    seen = world.api.get(partner.path, headers=partner.key).json()
    assert seen["last_sync_at"] >= done["started_at"]
    logs = world.api.get("/api/logs", headers=partner.key).json()["logs"]
    assert {"sync.started", "sync.completed"} <= {entry["event_type"] for entry in logs}
    listed = world.api.get("/api/sync/jobs", headers=partner.key).json()
    assert (listed["total"], listed["jobs"]) == (1, [done])
    of_all = world.api.get("/api/sync/jobs", params={"partner_id": partner.id, "status": "completed"}, headers=admin)
    assert of_all.json()["jobs"] == [done]
    assert world.api.get("/api/v1/orders", headers=partner.key).json() != []


def test_of_two_parallel_starts_one_is_told_the_others_job(world: World) -> None:
    world.shop_is(orders=200, latency_ms=100)
    partner = world.connected()
    world.configure(partner, paging={"size": 20})
    with ThreadPoolExecutor(2) as threads:
        first, second = sorted(threads.map(lambda _: world.start(partner), range(2)), key=lambda each: each.status_code)
    assert first.status_code == 202
    problem = refused(second, 409, "conflict")
    assert problem["job_id"] == first.json()["job_id"]
    assert second.headers["Location"] == first.headers["Location"]
    assert world.start(partner, resource="inventory").status_code == 202
    cancelled = world.api.post(f"{first.headers['Location']}/cancel", headers=partner.key)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = world.api.post(f"{first.headers['Location']}/cancel", headers=partner.key)
    assert again.json() == cancelled.json()
    assert world.start(partner).status_code == 202


def test_the_same_idempotency_key_starts_one_job(world: World) -> None:
    world.shop_is(orders=10)
    partner = world.connected()
    headers = {**partner.key, "Idempotency-Key": uuid4().hex}
    body = {"job_type": "full_sync", "resource": "orders"}
    first, second = (world.api.post("/api/sync/jobs", json=body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert first.headers["Location"] == second.headers["Location"]


def test_nobody_sees_or_cancels_the_job_of_another(world: World) -> None:
    world.shop_is(orders=10)
    partner, other = world.connected(), world.connected()
    location = world.started(partner)
    for answer in (
        world.api.get(location, headers=other.key),
        world.api.post(f"{location}/cancel", headers=other.key),
        world.api.get(f"{location}/quarantine", headers=other.key),
        world.start(other, partner_id=partner.id),
        world.api.get("/api/sync/jobs", params={"partner_id": partner.id}, headers=other.key),
    ):
        refused(answer, 404, "not_found")
    assert world.api.get("/api/sync/jobs", headers=other.key).json()["total"] == 0
    refused(world.api.get(f"{partner.path}/sync/orders", headers=partner.key), 403, "admin_only")
    world.ended(partner, location)
    refused(world.api.post(f"{location}/cancel", headers=partner.key), 409, "conflict")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"job_type": "everything"}, "/job_type"),
        ({"job_type": "full_sync"}, "/resource"),
        ({"job_type": "full_sync", "resource": "secrets"}, "/resource"),
        ({"job_type": "webhook_retry", "resource": "orders"}, "/resource"),
        ({"job_type": "full_sync", "resource": "orders", "more": 1}, "/more"),
    ],
)
def test_a_job_that_cannot_be_is_refused(world: World, body: Json, pointer: str) -> None:
    partner = world.connected()
    answer = world.api.post("/api/sync/jobs", json=body, headers=partner.key)
    assert pointers(refused(answer, 422, "invalid_body")) == [pointer]


def test_a_partner_without_an_api_has_nothing_to_sync(world: World, admin: Headers) -> None:
    partner = world.connect()
    refused(world.start(partner), 409, "conflict")
    refused(world.api.post("/api/sync/jobs", json={"job_type": "webhook_retry"}, headers=admin), 422)


def test_how_a_resource_is_read_is_configured_shown_and_forgotten(world: World, admin: Headers) -> None:
    partner = world.connected()
    path = f"{partner.path}/sync/orders"
    refused(world.api.get(path, headers=admin), 404)
    made = world.configure(partner, paging={"style": "page"}, schedule_seconds=3600, fields={"number": "number"})
    assert made["paging"] == {
        "style": "page",
        "size": 1000,
        "param": "page",
        "size_param": "per_page",
        "next": "next_cursor",
    }
    assert (made["path"], made["schedule_seconds"], made["failures"]) == ("orders", 3600, 0)
    shown = world.api.get(path, headers=admin).json()
    assert {**shown, "next_run_at": None} == {**made, "next_run_at": None}
    assert [each["resource"] for each in world.api.get(f"{partner.path}/sync", headers=admin).json()["sources"]] == [
        "orders"
    ]
    assert world.api.delete(path, headers=admin).status_code == 204
    refused(world.api.delete(path, headers=admin), 404)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"connector": "soap"}, "/connector"),
        ({"path": "../admin"}, ""),
        ({"path": "orders?x=1"}, "/path"),
        ({"paging": {"style": "sideways"}}, "/paging/style"),
        ({"paging": {"size": 0}}, "/paging/size"),
        ({"cursor": {"kind": "mood"}}, "/cursor/kind"),
        ({"publish": {"created": "no.such.type"}}, "/publish/created"),
        ({"schedule_seconds": 0}, "/schedule_seconds"),
        ({"unknown": 1}, "/unknown"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(world: World, admin: Headers, body: Json, pointer: str) -> None:
    partner = world.connected()
    answer = world.api.put(f"{partner.path}/sync/orders", json=body, headers=admin)
    assert pointers(refused(answer, 422)) == [pointer]
    refused(world.api.put(f"{partner.path}/sync/secrets", json={}, headers=admin), 404)
    refused(world.api.put(f"/api/partners/{uuid4()}/sync/orders", json={}, headers=admin), 404)


def test_a_token_that_has_ended_at_the_source_is_renewed_once_and_the_sync_succeeds(
    world: World, admin: Headers
) -> None:
    world.shop_is(orders=60)
    server = Server(world.shop.url)
    partner = connected_partner(world.api, admin, world.connect, server)
    world.configure(partner, paging={"size": 20})
    server.rejects_access_tokens()
    done = world.ended(partner, world.started(partner))
    assert (done["status"], done["error_class"], done["records_processed"]) == ("completed", None, 60)
    assert len(world.rows(partner)) == 60
    assert server.counts()["refreshes"] == 1
    assert connection(world.api, partner.key, partner)["status"] == "connected"


def test_a_grant_that_has_ended_at_the_source_ends_the_sync_and_needs_a_person(world: World, admin: Headers) -> None:
    world.shop_is(orders=60)
    server = Server(world.shop.url)
    partner = connected_partner(world.api, admin, world.connect, server)
    server.behaves(error="invalid_grant")
    server.rejects_access_tokens()
    done = world.ended(partner, world.started(partner))
    assert (done["status"], done["error_class"], done["records_processed"]) == ("failed", "auth", 0)
    assert world.rows(partner) == {}
    assert connection(world.api, partner.key, partner)["status"] == "needs_reauth"


def test_the_quarantine_of_a_job_is_shown(world: World) -> None:
    world.shop_is(orders=100, poison=[5])
    partner = world.connected()
    location = world.started(partner)
    done = world.ended(partner, location)
    assert (done["status"], done["records_processed"], done["records_failed"]) == ("completed", 100, 1)
    (bad,) = world.api.get(f"{location}/quarantine", headers=partner.key).json()["records"]
    assert (bad["key"], bad["reason"]) == ("5", "`updated_at` is not a time.")
    assert len(world.rows(partner)) == 99


def test_failed_deliveries_are_sent_again_by_a_job(world: World) -> None:
    partner, receiver = world.connect(), Receiver(world.shop.url)
    register(world.api, partner.key, receiver)
    publish(world.api, partner.key)
    eventually(lambda: statuses(world, partner) == ["delivered"])
    marked = "UPDATE webhook_deliveries SET status = 'failed' WHERE partner_id = %s RETURNING 1"
    assert len(world.asked(marked, partner.id)) == 1
    done = world.ended(partner, world.started(partner, job_type="webhook_retry", resource=None))
    assert (done["status"], done["records_processed"], done["resource"]) == ("completed", 1, None)
    assert len(receiver.wait_for(2)) == 2
    eventually(lambda: statuses(world, partner) == ["delivered"])


def statuses(world: World, partner: Connected) -> list[str]:
    listed = world.api.get("/api/webhooks/deliveries", headers=partner.key).json()["deliveries"]
    return [each["status"] for each in listed]


# ── Killed, and asleep ───────────────────────────────────────────────────────────────────────────


def processed(world: World, location: str) -> int:
    job_id = location.rpartition("/")[2]
    return world.asked("SELECT records_processed FROM sync_jobs WHERE job_id = %s", job_id)[0][0]


def test_a_worker_killed_again_and_again_counts_every_record_once(world: World) -> None:
    world.shop_is(orders=RECORDS, latency_ms=20)
    partner = world.connected()
    world.configure(partner, paging={"size": PAGE}, publish={"created": "order.created"} if RECORDS <= 5000 else {})
    location = world.started(partner)
    for kill in range(1, KILLS + 1):
        share = RECORDS * kill // (KILLS + 1)
        eventually(lambda share=share: processed(world, location) >= share, PATIENCE)
        world.stack.host.kill()
        world.stack.host.start()
    done = world.ended(partner, location)
    assert (done["status"], done["error_message"]) == ("completed", None)
    counts = {name: done[f"records_{name}"] for name in ("processed", "total", "changed", "failed", "deleted")}
    assert counts == {"processed": RECORDS, "total": RECORDS, "changed": RECORDS, "failed": 0, "deleted": 0}
    assert set(world.rows(partner)) == {str(number) for number in range(1, RECORDS + 1)}
    if RECORDS <= 5000:
        assert world.asked("SELECT count(*) FROM events WHERE partner_id = %s", partner.id) == [(RECORDS,)]


def test_a_worker_that_wakes_up_after_its_lease_touches_nothing(world: World) -> None:
    world.shop_is(orders=400, latency_ms=50)
    partner = world.connected()
    world.configure(partner, paging={"size": 20})
    location = world.started(partner)
    eventually(lambda: processed(world, location) > 0)
    asleep = world.stack.host.process.pid
    os.kill(asleep, signal.SIGSTOP)
    try:
        world.touch(range(1, 401))  # what the sleeper holds is old from now on
        with services.start_host(world.folder / "second", world.stack.env) as second:
            eventually(lambda: status_at(second, location, partner) == "completed", PATIENCE)
        before, rows = everything_about(world, location), world.rows(partner)
    finally:
        os.kill(asleep, signal.SIGCONT)
    other = world.connected()
    assert world.ended(other, world.started(other))["status"] == "completed"  # awake, and at work again
    assert everything_about(world, location) == before
    assert world.rows(partner) == rows
    done = world.job(partner, location)
    assert (done["records_processed"], done["records_total"], len(rows)) == (400, 400, 400)


def everything_about(world: World, location: str) -> list[tuple[Any, ...]]:
    return world.asked("SELECT * FROM sync_jobs WHERE job_id = %s", location.rpartition("/")[2])


def status_at(host: Service, location: str, partner: Connected) -> str:
    return web.get(f"{host.url}{location}", headers=partner.key, timeout=30).json()["status"]
