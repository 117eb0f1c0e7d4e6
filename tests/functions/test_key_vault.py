"""A host with no secret in any setting: its secrets in a Key Vault, its passwords tokens of its identity, its archive
opened by such tokens too.

They rotate under load, and the vault fails, and nobody notices.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
import redis
from psycopg import sql

from devstack import parts
from devstack.process import ROOT, http_status
from devstack.settings import EVERY_SECOND, random_key
from shared_code.adapters.postgres_sealed import SEALED
from shared_code.settings import SECRETS
from tests import services
from tests.functions.stack import Connect, Headers, connecting
from tests.key_vault import KeyVault, running_key_vault
from tests.services import Service, eventually
from tests.shared_servers import ask, new_database

NEVER = "0 0 0 1 1 *"
KEYS = {kid: random_key() for kid in ("k1", "k2")}


@dataclass(frozen=True, slots=True)
class World:
    vault: KeyVault
    host: Service
    env: Mapping[str, str] = field(repr=False)
    admin: Headers = field(repr=False)
    api: httpx.Client = field(repr=False)
    database_url: str = field(repr=False)
    partner: tuple[str, str] = field(repr=False)
    """URL and key of the example partner."""

    @property
    def connect(self) -> Connect:
        return connecting(self.api, self.admin)

    def log(self) -> str:
        return Path(self.host.part.log).read_text()

    def ring(self, *kids: str, age_seconds: float = 0) -> None:
        self.vault.put("token-keyring", json.dumps({kid: KEYS[kid] for kid in kids}), age_seconds=age_seconds)

    def sealed_under(self, kid: str) -> int:
        with psycopg.connect(self.database_url, autocommit=True) as database:
            return sum(count(database, column.table, column.column, kid) for column in SEALED.values())

    def keyring(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return self.command("scripts.keyring", *arguments, **changes)

    def command(self, module: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *arguments]
        env = {**os.environ, **self.env, **changes}
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)


def count(database: psycopg.Connection[tuple[int]], table: str, column: str, kid: str) -> int:
    found = database.execute(f"SELECT count(*) FROM {table} WHERE split_part({column}, '.', 2) = %s".encode(), [kid])
    return (found.fetchone() or (0,))[0]


@contextmanager
def entra_role(database_url: str, token: str) -> Iterator[str]:
    """The URL of a role that a token lets in, and that owns nothing."""
    role = f"id-pinksync-{uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as database:
        name = sql.Identifier(role)
        database.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(token)))
        database.execute(sql.SQL("GRANT pg_read_all_data, pg_write_all_data TO {}").format(name))
        yield as_user(database_url, role)
        database.execute(sql.SQL("DROP ROLE {}").format(name))


@contextmanager
def entra_user(redis_url: str, token: str) -> Iterator[str]:
    user = str(uuid4())
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", user, "on", f">{token}", "~*", "&*", "+@all")
        yield as_user(redis_url, user)
        client.execute_command("ACL", "DELUSER", user)


def as_user(url: str, user: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}@{rest.rpartition('@')[2]}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("vault-host")
    with ExitStack() as closing:
        vault = closing.enter_context(running_key_vault(folder))
        database_url = closing.enter_context(new_database())
        svix, xano, partner = ask("svix"), ask("xano"), closing.enter_context(services.start_partner(folder))
        role = entra_role(database_url, vault.token("https://ossrdbms-aad.database.windows.net"))
        user = entra_user(ask("redis").url, vault.token("https://redis.azure.com"))
        storage = closing.enter_context(services.start_secure_azurite(folder, vault.certificate, vault.key))
        env = services.app_environment(
            closing.enter_context(role),
            closing.enter_context(user),
            DATABASE_AUTH="entra",
            REDIS_AUTH="entra",
            SVIX_URL=svix.url,
            XANO_API_URL=xano.url,
            AUDIT_STORAGE_CONNECTION_STRING="",
            AUDIT_STORAGE_URL=storage.url,
            AUDIT_ARCHIVE_SCHEDULE=NEVER,
            SECRETS_REFRESH_SECONDS="1",
            REENCRYPT_SCHEDULE=EVERY_SECOND,
            ADDRESS_RATE_LIMIT_PER_MINUTE="1000000",
        )
        values = env | {"TOKEN_KEYRING": json.dumps({"k1": KEYS["k1"]}), "SVIX_TOKEN": svix.secret}
        for name in SECRETS:
            vault.put(name.lower().replace("_", "-"), values[name], age_seconds=3600)
        env = {name: value for name, value in env.items() if name not in SECRETS} | vault.environment
        admin = {"Authorization": f"Bearer {bootstrapped(env)}"}
        host = closing.enter_context(services.start_host(folder, env))
        api = closing.enter_context(httpx.Client(base_url=host.url, timeout=20, trust_env=False))
        yield World(vault, host, env, admin, api, database_url, (partner.url, partner.secret))


def bootstrapped(env: Mapping[str, str]) -> str:
    """The first admin's key, from the command as an operator runs it: it too has its secrets from the vault."""
    command = [sys.executable, "-m", "scripts.bootstrap_admin", "--email", "admin@pinksync.local", "--json"]
    done = subprocess.run(command, env={**os.environ, **env}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["api_key"]


def test_a_host_without_one_secret_in_its_settings_serves(world: World) -> None:
    assert not world.env.keys() & set(SECRETS)
    assert [name for name in ("DATABASE_URL", "REDIS_URL") if urlsplit(world.env[name]).password] == []
    partner = world.connect()
    assert world.api.get("/api/test", headers=partner.key).json()["partner_id"] == partner.id
    ready = world.api.get("/api/ready").json()
    assert (ready["status"], set(ready["dependencies"].values())) == ("ok", {"ok"}), ready


def test_a_rotated_api_key_of_the_backend_is_used_without_a_restart(world: World) -> None:
    partner = world.connect()
    before = world.api.get("/api/v1/orders", headers=partner.key)
    assert before.status_code >= 500, "the vault's first key is not the backend's"
    world.vault.put("xano-api-key", ask("xano").secret)
    eventually(lambda: world.api.get("/api/v1/orders", headers=partner.key).status_code == 200)


def test_a_vault_that_fails_is_not_noticed(world: World) -> None:
    partner = world.connect()
    world.vault.fail("vault", 503)
    asked = world.vault.asked("key-pepper")
    eventually(lambda: world.vault.asked("key-pepper") > asked)
    assert world.api.get("/api/test", headers=partner.key).status_code == 200
    assert world.connect()
    eventually(lambda: "the Key Vault does not give key-pepper" in world.log())
    world.vault.heal()


def test_the_audit_trail_is_archived_and_read_with_tokens_of_the_identity(world: World) -> None:
    partner = world.connect()
    for number in range(4):
        made = world.api.post("/api/keys", json={"name": f"key {number}"}, headers=partner.key)
        assert made.status_code == 201, made.text
    with psycopg.connect(world.database_url, autocommit=True) as database:
        database.execute("UPDATE integration_logs SET created_at = created_at - interval '100 days'")
        before = world.api.get("/api/logs", headers=partner.key).json()
        run = world.api.post("/api/timers/audit_archive/run", headers=world.admin).json()
        assert (run["result"], run["rows"] >= 5) == ("ok", True), run
        left = database.execute("SELECT count(*) FROM integration_logs WHERE partner_id = %s", (partner.id,))
        assert left.fetchone() == (0,)
    after = world.api.get("/api/logs", headers=partner.key).json()
    assert (after["logs"], after["total"]) == (before["logs"], 5)
    assert "https://storage.azure.com" in world.vault.known()["tokens"].values()
    verified = world.command("scripts.verify_audit")
    assert (verified.returncode, "archived rows" in verified.stdout) == (0, True), verified.stderr


def test_the_key_ring_rotates_under_load(world: World) -> None:
    """Sealing, opening and replaying go on while k2 comes, everything moves to it, and k1 goes."""
    url, key = world.partner
    shop = world.connect(api_endpoint=f"{url}/api", credentials={"api_key": key})
    ended, done = Event(), list[httpx.Response]()

    def work(number: int) -> None:
        with httpx.Client(base_url=world.host.url, timeout=20, trust_env=False) as api:
            once = {**world.admin, "Idempotency-Key": f"rotation-{number}-{uuid4()}"}
            body = {"name": "Rotated", "type": "vendor", "auth_method": "api_key", "credentials": {"api_key": "x" * 9}}
            while not ended.is_set():
                done.append(api.post("/api/partners/connect", json=body, headers=once))
                done.append(api.get(f"/api/proxy/{shop.id}/orders", headers=world.admin))
                hook = {"url": f"{url}/webhooks/{uuid4()}", "events": ["order.created"], "partner_id": shop.id}
                done.append(api.post("/api/webhooks/register", json=hook, headers=world.admin))

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, number) for number in range(3)]
        try:
            eventually(lambda: len(done) > 10)
            refusal = world.keyring("--may-drop", "k1")
            assert (refusal.returncode, "k1 must stay" in refusal.stderr) == (1, True)
            world.ring("k2", "k1")
            eventually(lambda: world.sealed_under("k2") > 5 and world.sealed_under("k1") == 0)
            leave = world.keyring("--may-drop", "k1")
            assert (leave.returncode, "k1 may be dropped" in leave.stderr) == (0, True), leave.stderr
            world.ring("k2", age_seconds=3600)
            before = len(done)
            eventually(lambda: len(done) > before + 10)
        finally:
            ended.set()
        [each.result() for each in working]
    assert [answer.text for answer in done if answer.status_code not in (200, 201)] == []
    world.host.stop()
    world.host.start()
    assert world.api.get(f"/api/proxy/{shop.id}/orders", headers=world.admin).status_code == 200


def test_credentials_moved_to_another_partners_row_do_not_open_there(world: World) -> None:
    """Whoever can write to the database cannot make the gateway use one partner's credentials as another's."""
    url, key = world.partner
    victim, thief = [world.connect(api_endpoint=f"{url}/api", credentials={"api_key": each}) for each in (key, "x")]
    with psycopg.connect(world.database_url, autocommit=True) as database:
        database.execute(
            """UPDATE partners SET credentials_encrypted = v.credentials_encrypted
               FROM (SELECT * FROM partners WHERE partner_id = %s) AS v WHERE partners.partner_id = %s""",
            [victim.id, thief.id],
        )
    assert world.api.get(f"/api/proxy/{victim.id}/orders", headers=world.admin).status_code == 200
    refusal = world.api.get(f"/api/proxy/{thief.id}/orders", headers=world.admin)
    assert (refusal.status_code, refusal.json()["code"]) == (500, "internal_error")


def test_a_key_dropped_too_early_is_told_of_by_name(world: World) -> None:
    world.connect(credentials={"api_key": "something"})
    told = world.keyring(TOKEN_KEYRING=json.dumps({"k1": KEYS["k1"]}))
    assert "k2 (IS NOT IN TOKEN_KEYRING): " in told.stdout, told.stderr


def test_without_its_secrets_a_host_refuses_by_name_and_starts_when_they_are_there(
    world: World, tmp_path: Path
) -> None:
    world.vault.fail("vault", 403)
    seat = services.new_seat(tmp_path, "host")
    part = parts.host(seat, {**world.env, "PUBLIC_URL": parts.local_url(seat.port), "DEVSTACK_MASTER_KEY": "x" * 20})
    waiting = replace(part, is_ready=lambda: http_status(seat.port, "/api/health") == 503)
    with Service(waiting, parts.local_url(seat.port)) as host:
        refusal = httpx.get(f"{host.url}/api/ready")
        assert (refusal.status_code, refusal.json()["code"]) == (503, "unavailable")
        assert httpx.get(f"{host.url}/api/partners", headers=world.admin).status_code == 503
        assert "KEY_PEPPER cannot be read from the vault" in seat.log.read_text()
        world.vault.heal()
        eventually(lambda: httpx.get(f"{host.url}/api/ready").status_code == 200)
