"""Tokens of the managed identity as passwords: a fresh one for each PostgreSQL connection, a renewed one for Redis."""

import asyncio
import json
import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import certifi
import psycopg
import pytest
import redis.asyncio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from devstack.process import ROOT
from shared_code import errors
from shared_code.adapters import azure_identity, redis_entra
from shared_code.adapters.azure_identity import AzureIdentity, Token
from shared_code.adapters.postgres_rows import trusting
from shared_code.adapters.postgres_store import PostgresStore
from shared_code.adapters.redis_client import RedisDown, translated
from shared_code.adapters.redis_entra import EntraCredentials, connect_as, without_user
from tests.key_vault import KeyVault, running_key_vault

POSTGRES = "https://ossrdbms-aad.database.windows.net"
REDIS = "https://redis.azure.com"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVault]:
    with running_key_vault(tmp_path_factory.mktemp("identity")) as running:
        yield running


@pytest.fixture
async def identity(vault: KeyVault, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AzureIdentity]:
    for name, value in vault.identity.items():
        monkeypatch.setenv(name, value)
    made = AzureIdentity("client-7")
    yield made
    await made.close()
    vault.heal()


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def role(database_url: str) -> Iterator[str]:
    """A role named like an identity, which only a token lets in."""
    name = f"id-pinksync-{uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        yield name
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [name])
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def let_in(database_url: str, role: str, token: str) -> None:
    """The token of the moment, as Entra would check it; and the connections that there were are gone."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(token))
        connection.execute(statement)
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])


def as_user(url: str, user: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}@{rest.rpartition('@')[2]}"


async def test_each_new_connection_to_postgres_has_the_token_of_the_moment(
    vault: KeyVault, identity: AzureIdentity, database_url: str, role: str
) -> None:
    tokens = ["first", "second"]

    async def token() -> Token:
        return Token(text=tokens[0], expires_at=time.time() + 3600)

    let_in(database_url, role, "first")
    store = PostgresStore(as_user(database_url, role), 2, token)
    await store.ping()
    tokens.pop(0)
    let_in(database_url, role, "second")
    await store.ping()
    await store.close()


async def test_the_managed_identity_opens_postgres(
    vault: KeyVault, identity: AzureIdentity, database_url: str, role: str
) -> None:
    let_in(database_url, role, vault.token(POSTGRES))
    store = PostgresStore(as_user(database_url, role), 2, lambda: identity.token(azure_identity.POSTGRES))
    await store.ping()
    await store.close()


def test_migrations_run_with_a_token_too(vault: KeyVault, database_url: str, role: str) -> None:
    let_in(database_url, role, vault.token(POSTGRES))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("GRANT pg_read_all_data TO {}").format(sql.Identifier(role)))
    assert migrate(vault, as_user(database_url, role)) == (0, "")
    vault.fail("identity", 403)
    code, said = migrate(vault, as_user(database_url, role))
    assert (code, said) == (
        1,
        "Migrations failed: no token for the database: is there an identity that may have one?\n",
    )
    vault.heal()


def migrate(vault: KeyVault, url: str) -> tuple[int, str]:
    env = {**os.environ, **vault.identity, "DATABASE_URL": url, "DATABASE_AUTH": "entra"}
    command = [sys.executable, "-m", "scripts.migrate", "--check"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stderr


async def test_without_a_token_postgres_is_unavailable_as_if_it_were_down(
    vault: KeyVault, identity: AzureIdentity, database_url: str, role: str
) -> None:
    vault.fail("identity", 500)
    store = PostgresStore(as_user(database_url, role), 2, lambda: identity.token(azure_identity.POSTGRES))
    with pytest.raises(errors.StoreUnavailable):
        await store.ping()
    let_in(database_url, role, vault_token_after_healing(vault))
    async with asyncio.timeout(20):
        while not await reached(store):
            pass
    await store.close()


def vault_token_after_healing(vault: KeyVault) -> str:
    vault.heal()
    return vault.token(POSTGRES)


async def reached(store: PostgresStore) -> bool:
    try:
        await store.ping()
    except errors.StoreUnavailable:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "roots"),
    [
        ("postgresql://id@db.example/p?sslmode=verify-full", certifi.where()),
        ("postgresql://id@db.example/p?sslmode=verify-full&sslrootcert=/my/roots.pem", "/my/roots.pem"),
        ("postgresql://id@db.example/p?sslmode=require", None),
        ("postgresql://id@db.example/p", None),
    ],
)
def test_a_server_that_is_verified_is_verified_against_known_roots(url: str, roots: str | None) -> None:
    assert conninfo_to_dict(trusting(url)).get("sslrootcert") == roots


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def user(server: redis.asyncio.Redis) -> AsyncIterator[str]:
    """An object id that Redis knows."""
    name = str(uuid4())
    yield name
    await server.execute_command("ACL", "DELUSER", name)


async def admit(server: redis.asyncio.Redis, user: str, *tokens: str) -> None:
    await server.execute_command("ACL", "SETUSER", user, "on", "resetpass", *(f">{t}" for t in tokens), "~*", "+@all")


async def logins(server: redis.asyncio.Redis) -> int:
    return (await server.info("commandstats")).get("cmdstat_auth", {}).get("calls", 0)


async def test_the_managed_identity_opens_redis(
    vault: KeyVault, identity: AzureIdentity, server: redis.asyncio.Redis, redis_url: str, user: str
) -> None:
    await admit(server, user, vault.token(REDIS))
    assert without_user(as_user(redis_url, user)) == ("redis://" + redis_url.rpartition("@")[2], user)
    login = EntraCredentials(user, lambda: identity.token(azure_identity.REDIS))
    client = connect_as(login, as_user(redis_url, user))
    await eventually_pings(client)
    assert await client.execute_command("ACL", "WHOAMI") == user.encode()
    await client.aclose()
    await login.close()


async def test_without_a_user_in_the_url_the_token_says_who_it_is(
    server: redis.asyncio.Redis, redis_url: str, user: str
) -> None:
    claims = urlsafe_b64encode(json.dumps({"oid": user}).encode()).decode().rstrip("=")

    async def token() -> Token:
        return Token(text=f"e30.{claims}.c2ln", expires_at=time.time() + 3600)

    await admit(server, user, f"e30.{claims}.c2ln")
    login = EntraCredentials("", token)
    client = connect_as(login, redis_url)
    await eventually_pings(client)
    assert await client.execute_command("ACL", "WHOAMI") == user.encode()
    await client.aclose()
    await login.close()


async def test_a_connection_logs_in_again_before_its_token_ends(
    server: redis.asyncio.Redis, redis_url: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_entra, "AGAIN_SECONDS", 0.0)
    names = iter(["first", "second", *["third"] * 100])

    async def token() -> Token:
        return Token(text=next(names), expires_at=time.time() + redis_entra.AHEAD_SECONDS)

    await admit(server, user, "first", "second", "third")
    login = EntraCredentials(user, token)
    client = connect_as(login, as_user(redis_url, user))
    await eventually_pings(client)
    before = await logins(server)
    await admit(server, user, "second", "third")
    async with asyncio.timeout(10):
        while await logins(server) < before + 2:
            await asyncio.sleep(0.05)
    await client.ping()
    await client.aclose()
    await login.close()


async def test_without_a_token_redis_counts_as_down_at_once_and_later_as_up(
    server: redis.asyncio.Redis, redis_url: str, user: str
) -> None:
    there = asyncio.Event()

    async def token() -> Token:
        await there.wait()
        return Token(text="late", expires_at=time.time() + 3600)

    await admit(server, user, "late")
    login = EntraCredentials(user, token)
    client = connect_as(login, as_user(redis_url, user))
    started = time.monotonic()
    with pytest.raises(RedisDown), translated():
        await client.ping()
    assert time.monotonic() - started < 0.4
    there.set()
    await eventually_pings(client)
    await client.aclose()
    await login.close()


async def test_a_renewal_that_fails_is_tried_again(
    server: redis.asyncio.Redis, redis_url: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_entra, "AGAIN_SECONDS", 0.0)
    answers: list[Token | None] = [token_of("a"), None, None, token_of("b")]

    async def token() -> Token:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            raise errors.Unavailable()
        return answer

    await admit(server, user, "a", "b")
    login = EntraCredentials(user, token)
    client = connect_as(login, as_user(redis_url, user))
    await eventually_pings(client)
    async with asyncio.timeout(10):
        while (await login.get_credentials_async())[1] != "b":
            await asyncio.sleep(0.05)
    await client.ping()
    await client.aclose()
    await login.close()


def token_of(text: str) -> Token:
    """One that is to be renewed soon."""
    return Token(text=text, expires_at=time.time() + redis_entra.AHEAD_SECONDS)


async def eventually_pings(client: redis.asyncio.Redis) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                with translated():
                    await client.ping()
                return
            except RedisDown:
                await asyncio.sleep(0.05)
