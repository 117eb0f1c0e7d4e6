"""Timers, retention and the audit archive as operators meet them: over HTTP, on a host with a database and Azurite."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import psycopg
import pytest
from azure.data.tables import TableClient, UpdateMode

from devstack.process import ROOT
from scripts import verify_audit
from shared_code.adapters.postgres_timers import lock_number
from shared_code.adapters.tables_audit_archive import TABLE
from tests import services
from tests.functions.index import index
from tests.functions.stack import Connect, Connected, Headers, Json, Stack, refused, running_stack
from tests.services import eventually
from tests.shared_servers import ask

type Verify = Callable[..., tuple[int, str]]
NEVER = "0 0 0 1 1 *"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    with services.start_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, azurite: services.Service) -> Iterator[Stack]:
    """One of this module's own: its archive is stopped and its host killed."""
    folder, nobodys = tmp_path_factory.mktemp("timers"), {"RETENTION_SCHEDULE": NEVER, "AUDIT_ARCHIVE_SCHEDULE": NEVER}
    archive = {"AUDIT_STORAGE_CONNECTION_STRING": azurite.url, "AUDIT_HOT_DAYS": "30"}
    with running_stack(folder, ask("svix"), ask("partner"), **nobodys, **archive) as running:
        yield running


def timers(api: httpx.Client, admin: Headers) -> dict[str, Json]:
    answer = api.get("/api/timers", headers=admin)
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["timers"]}


def run(api: httpx.Client, admin: Headers, name: str) -> Json:
    answer = api.post(f"/api/timers/{name}/run", headers=admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def held(stack: Stack, table: str) -> Iterator[psycopg.Connection]:
    """Whoever wants this table waits, for two seconds at most."""
    with psycopg.connect(stack.env["DATABASE_URL"]) as holder:
        holder.execute(f"LOCK TABLE {table}".encode())
        yield holder


# ── The list and the run by hand ─────────────────────────────────────────────────────────────────


def test_every_timer_of_the_app_is_listed_with_its_schedule(api: httpx.Client, admin: Headers, stack: Stack) -> None:
    found = timers(api, admin)
    assert found.keys() == {function.name for function in index().functions if not function.is_http}
    assert found["outbox_relay"]["schedule"] == stack.env["OUTBOX_SCHEDULE"]
    assert found["outbox_relay"]["description"] == "Sends what committed changes still owe to the webhook service."
    assert found["audit_archive"]["next"].endswith("-01-01T00:00:00Z")


def test_a_run_of_the_schedule_is_noted(api: httpx.Client, admin: Headers) -> None:
    seen = timers(api, admin)["outbox_relay"]["last_end"]

    def next_run() -> Json | None:
        found = timers(api, admin)["outbox_relay"]
        return found if found["last_end"] not in (None, seen) else None

    after = eventually(next_run)
    assert (after["result"], after["late_seconds"]) == ("ok", 0)
    assert datetime.fromisoformat(after["last_start"]) <= datetime.fromisoformat(after["last_end"])


def test_a_run_by_hand_says_what_became_of_it(api: httpx.Client, admin: Headers) -> None:
    before = datetime.now(UTC)
    done = run(api, admin, "retention_clear")
    assert (done["name"], done["result"], done["rows"], done["error"]) == ("retention_clear", "ok", 0, None)
    assert before <= datetime.fromisoformat(done["started_at"]) <= datetime.fromisoformat(done["ended_at"])
    listed = timers(api, admin)["retention_clear"]
    assert (listed["last_start"], listed["last_end"]) == (done["started_at"], done["ended_at"])
    assert listed["recent"][0] == done


def test_twice_at_once_is_one_ok_and_one_skipped(stack: Stack, api: httpx.Client, admin: Headers) -> None:
    with ThreadPoolExecutor() as threads, held(stack, "sessions") as holder:
        first = threads.submit(run, api, admin, "retention_clear")
        eventually(lambda: timers(api, admin)["retention_clear"]["running"])
        assert run(api, admin, "retention_clear")["result"] == "skipped"
        holder.rollback()
        assert first.result()["result"] == "ok"
    listed = timers(api, admin)["retention_clear"]
    assert (listed["result"], listed["running"]) == ("ok", False)
    assert listed["last_skipped"] > first.result()["started_at"]


def test_a_run_in_another_process_counts_too(api: httpx.Client, admin: Headers, database: psycopg.Connection) -> None:
    database.execute("SELECT pg_advisory_lock(%s)", (lock_number("key_use_flush"),))
    assert run(api, admin, "key_use_flush")["result"] == "skipped"
    database.execute("SELECT pg_advisory_unlock(%s)", (lock_number("key_use_flush"),))
    assert run(api, admin, "key_use_flush")["result"] == "ok"


def test_a_run_that_fails_is_told_and_the_next_one_goes(stack: Stack, api: httpx.Client, admin: Headers) -> None:
    with held(stack, "sessions"):
        failed = run(api, admin, "retention_clear")
    assert (failed["result"], failed["error"]) == ("failed", "StoreUnavailable")
    assert timers(api, admin)["retention_clear"]["error"] == "StoreUnavailable"
    assert run(api, admin, "retention_clear")["result"] == "ok"


def test_a_run_by_hand_is_in_the_audit_trail(api: httpx.Client, admin: Headers) -> None:
    mine = f"trace-{uuid4()}"
    api.post("/api/timers/key_use_flush/run", headers=admin | {"X-Request-Id": mine})
    (row,) = api.get("/api/logs", params={"request_id": mine}, headers=admin).json()["logs"]
    assert (row["event_type"], row["target"]) == ("timer.run", "key_use_flush")


def test_only_an_admin_may_and_only_what_there_is(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect()
    refused(api.get("/api/timers", headers=partner.key), 403, "admin_only")
    refused(api.post("/api/timers/retention_clear/run", headers=partner.key), 403, "admin_only")
    refused(api.post("/api/timers/nothing/run", headers=admin), 404, "not_found")


def test_a_timer_that_is_late_shows_in_ready_until_it_runs(
    api: httpx.Client, admin: Headers, database: psycopg.Connection
) -> None:
    def ready() -> tuple[int, str, list[str]]:
        answer = api.get("/api/ready")
        return answer.status_code, answer.json()["dependencies"]["timers"], answer.json()["late_timers"]

    timers(api, admin)
    late = "last_start = known_since, last_end = known_since"
    database.execute("UPDATE timers SET known_since = now() - interval '3 years' WHERE name = 'retention_clear'")
    database.execute(f"UPDATE timers SET {late} WHERE name = 'retention_clear'".encode())
    assert eventually(lambda: (now := ready()) == (200, "degraded", ["retention_clear"]) and now)
    assert timers(api, admin)["retention_clear"]["late_seconds"] > 365 * 24 * 3600
    run(api, admin, "retention_clear")
    assert eventually(lambda: (now := ready()) == (200, "ok", []) and now)


def test_a_host_that_is_killed_in_a_run_leaves_no_lock(stack: Stack, api: httpx.Client, admin: Headers) -> None:
    with ThreadPoolExecutor() as threads, held(stack, "sessions"):
        lost = threads.submit(api.post, "/api/timers/retention_clear/run", headers=admin)
        eventually(lambda: timers(api, admin)["retention_clear"]["running"])
        stack.host.kill()
        assert isinstance(lost.exception(), httpx.TransportError)
    stack.host.start()
    eventually(lambda: not timers(api, admin)["retention_clear"]["running"])
    assert run(api, admin, "retention_clear")["result"] == "ok"


# ── Retention ────────────────────────────────────────────────────────────────────────────────────

EXPIRED = """
INSERT INTO sessions (sid_hash, sess, expire) SELECT int4send(n), '{}', now() - n * interval '1 s' FROM many;
INSERT INTO rate_limits (identifier, endpoint, window_start, window_end)
  SELECT n, '/', now(), now() - interval '1 s' FROM many;
INSERT INTO idempotency_replies (tenant, route, key, fingerprint, status, headers, body_encrypted, expires_at)
  SELECT 't', 'r', n, '', 201, '{}', '', now() - interval '1 s' FROM many;
INSERT INTO outbox (kind, subject, not_before, created_at, done_at)
  SELECT 'event_type.put', 'x', now(), now(), now() - interval '31 days' FROM many;
INSERT INTO partners (partner_id, name, type, status, auth_method, created_at, updated_at, deleted_at)
  SELECT gen_random_uuid(), 'Removed', 'vendor', 'inactive', 'api_key', now(), now(), now() - interval '91 days';
INSERT INTO oauth_links (link_hash, partner_id, created_by, created_at, expires_at)
  SELECT int4send(n), partner_id, 'x', now(), now() - interval '25 hours' FROM many, removed;
INSERT INTO oauth_states (state_hash, browser_hash, partner_id, verifier_encrypted, created_at, expires_at)
  SELECT int4send(n), '', partner_id, '', now(), now() - interval '25 hours' FROM many, removed;
INSERT INTO inbound_secrets (partner_id, secret_encrypted, created_at, expires_at)
  SELECT partner_id, '', now(), now() - interval '1 s' FROM many, removed;
INSERT INTO inbound_records (partner_id, resource, external_id, happened_at, held_until)
  SELECT partner_id, 'orders', n, now(), now() - interval '91 days' FROM many, removed;
INSERT INTO sync_records (partner_id, resource, key, hash, seen_in)
  SELECT partner_id, 'orders', n, '', gen_random_uuid() FROM many, removed;
"""


def test_what_is_over_leaves_in_a_run(api: httpx.Client, admin: Headers, database: psycopg.Connection) -> None:
    database.execute("CREATE VIEW many AS SELECT n FROM generate_series(1, 1500) AS n")
    database.execute("CREATE VIEW removed AS SELECT partner_id FROM partners WHERE name = 'Removed'")
    database.execute(EXPIRED.encode())
    assert run(api, admin, "retention_clear")["rows"] == 9 * 1500
    for table in ("sessions", "rate_limits", "oauth_links", "oauth_states", "inbound_records", "sync_records"):
        assert database.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,)
    assert run(api, admin, "retention_clear")["rows"] == 0


def test_what_a_removed_partner_signed_with_leaves_in_the_next_run(
    api: httpx.Client, admin: Headers, connect: Connect, database: psycopg.Connection
) -> None:
    partner = connect()
    api.post(f"{partner.path}/inbound-secret", json={}, headers=partner.key).raise_for_status()
    count = "SELECT count(*) FROM inbound_secrets WHERE partner_id = %s"
    run(api, admin, "retention_clear")
    assert database.execute(count, (partner.id,)).fetchone() == (1,)
    api.delete(partner.path, headers=admin).raise_for_status()
    run(api, admin, "retention_clear")
    assert database.execute(count, (partner.id,)).fetchone() == (0,)


# ── The audit archive ────────────────────────────────────────────────────────────────────────────


def all_logs(api: httpx.Client, key: Headers, limit: int = 200, **query: str) -> list[Json]:
    found: list[Json] = []
    more: dict[str, str] = {}
    while True:
        answer = api.get("/api/logs", params={**query, **more, "limit": str(limit)}, headers=key)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["logs"]
        if page["next_cursor"] is None:
            assert (page["total"], page["total_is_exact"]) == (len(found), True)
            return found
        more = {"cursor": page["next_cursor"]}


@pytest.fixture
def aged(api: httpx.Client, connect: Connect, database: psycopg.Connection) -> Connected:
    """A partner with eight rows in its trail; the oldest six are from before the hot window."""
    partner = connect()
    for number in range(7):
        api.post("/api/keys", json={"name": f"key {number}"}, headers=partner.key).raise_for_status()
    database.execute(
        """UPDATE integration_logs SET created_at = created_at - interval '40 days' WHERE id IN (
             SELECT id FROM integration_logs WHERE partner_id = %s ORDER BY id LIMIT 6)""",
        (partner.id,),
    )
    return partner


def entities(azurite: services.Service, partner: Connected) -> list[Json]:
    with TableClient.from_connection_string(azurite.url, TABLE) as table:
        found = [dict(each) for each in table.list_entities() if each.get("partner_id") == partner.id]
    return sorted(found, key=lambda entity: entity["sequence"].value)


def edit(azurite: services.Service, entity: Json, **changes: str) -> None:
    names = {name: entity[name] for name in ("PartitionKey", "RowKey")}
    with TableClient.from_connection_string(azurite.url, TABLE) as table:
        table.update_entity({**names, **changes}, mode=UpdateMode.MERGE)


@pytest.fixture
def verify(stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """The command in this process, as a start of Python takes long; one test runs it as it is run by hand."""

    def command(*options: str, **changes: str) -> tuple[int, str]:
        for name, value in {**stack.env, **changes}.items():
            monkeypatch.setenv(name, value)
        code = verify_audit.main(options)
        told = capsys.readouterr()
        return code, told.out + told.err

    return command


def test_the_trail_reads_on_into_the_archive(
    api: httpx.Client,
    admin: Headers,
    aged: Connected,
    connect: Connect,
    azurite: services.Service,
    database: psycopg.Connection,
) -> None:
    before = all_logs(api, aged.key)
    assert run(api, admin, "audit_archive")["rows"] >= 6
    assert len(entities(azurite, aged)) == 6
    held_back = database.execute("SELECT count(*) FROM integration_logs WHERE partner_id = %s", (aged.id,)).fetchone()
    assert held_back == (2,)
    for limit in (200, 3, 1):
        assert all_logs(api, aged.key, limit) == before
    assert all_logs(api, admin, 3, partner_id=aged.id) == before
    created = [row for row in before if row["event_type"] == "api_key.created"]
    assert all_logs(api, aged.key, 2, event_type="api_key.created") == created
    oldest = before[-1]
    assert all_logs(api, aged.key, request_id=oldest["request_id"]) == [oldest]
    assert all_logs(api, aged.key, until=before[4]["created_at"]) == before[5:]
    assert all_logs(api, aged.key, since=before[4]["created_at"]) == before[:5]
    assert all_logs(api, aged.key, severity="critical") == []
    stranger = connect()
    assert {row["partner_id"] for row in all_logs(api, stranger.key)} == {stranger.id}
    refused(api.get("/api/logs", params={"partner_id": aged.id}, headers=stranger.key), 404)
    everything = all_logs(api, admin, 7)
    assert [row for row in everything if row["partner_id"] == aged.id] == before
    assert run(api, admin, "audit_archive")["rows"] == 0


def test_the_verify_command_names_a_row_that_was_edited_or_is_gone(
    verify: Verify, api: httpx.Client, admin: Headers, aged: Connected, azurite: services.Service
) -> None:
    run(api, admin, "audit_archive")
    assert verify()[0] == 0
    rows = entities(azurite, aged)
    edit(azurite, rows[2], message="Nothing happened here.")
    code, told = verify()
    assert code == 1
    assert f"partition {rows[2]['PartitionKey']}, row {rows[2]['RowKey']}, number 3, was changed" in told
    assert f"expected hash {rows[2]['hash']}" in told
    edit(azurite, rows[2], message=rows[2]["message"])
    assert verify()[0] == 0
    for gone in (rows[1], rows[-1]):
        with TableClient.from_connection_string(azurite.url, TABLE) as table:
            table.delete_entity(gone["PartitionKey"], gone["RowKey"])
            code, told = verify("--json")
            table.create_entity(gone)
        (found,) = json.loads(told)["breaks"]
        assert (code, found["row"], found["fault"]) == (1, gone["RowKey"], "is missing")
        assert (found["expected"], found["found"]) == (gone["hash"], "")
    assert verify()[0] == 0


def test_the_verify_command_says_when_it_cannot(stack: Stack, verify: Verify) -> None:
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/a;"
    for changes in ({"AUDIT_STORAGE_CONNECTION_STRING": nowhere}, {"AUDIT_STORAGE_CONNECTION_STRING": ""}):
        code, told = verify(**changes)
        assert (code, len(told.splitlines())) == (2, 1), told
    command = [sys.executable, "-m", "scripts.verify_audit"]
    env = {**os.environ, **stack.env, "DATABASE_URL": ""}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "verify_audit: PinkSync cannot start: DATABASE_URL is missing\n")


def test_with_the_storage_down_rows_wait_and_newer_ones_are_read(
    api: httpx.Client,
    admin: Headers,
    aged: Connected,
    connect: Connect,
    azurite: services.Service,
    database: psycopg.Connection,
) -> None:
    run(api, admin, "audit_archive")
    waiting = connect()
    database.execute(
        "UPDATE integration_logs SET created_at = created_at - interval '40 days' WHERE partner_id = %s", (waiting.id,)
    )
    azurite.stop()  # not killed: Azurite, unlike Azure, would forget its last five seconds
    try:
        failed = run(api, admin, "audit_archive")
        assert (failed["result"], failed["error"]) == ("failed", "ArchiveUnavailable")
        assert len(all_logs(api, waiting.key)) == 1
        assert len(api.get("/api/logs", params={"limit": 2}, headers=aged.key).json()["logs"]) == 2
        answer = api.get("/api/logs", params={"limit": 5}, headers=aged.key)
        refused(answer, 503, "archive_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert eventually(lambda: api.get("/api/ready").json()["dependencies"]["storage"] != "ok")
    finally:
        azurite.start()
    assert run(api, admin, "audit_archive")["rows"] >= 1
    assert len(all_logs(api, waiting.key)) == 1
    assert len(all_logs(api, aged.key)) == 8
