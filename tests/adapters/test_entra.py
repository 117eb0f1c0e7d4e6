"""Tokens of the managed identity as passwords: a fresh one for each PostgreSQL connection, a renewed one for Redis."""

import asyncio
import json
import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from uuid import uuid4

import certifi
import psycopg
import pytest
import redis.asyncio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from redis.exceptions import AuthenticationError, RedisError

from devstack.process import ROOT
from shared_code import errors
from shared_code.adapters import azure_identity, redis_wire
from shared_code.adapters.azure_identity import AzureIdentity, Token
from shared_code.adapters.postgres_rows import trusting
from shared_code.adapters.postgres_store import PostgresStore
from shared_code.adapters.redis_client import RedisDown, connect, translated
from shared_code.adapters.redis_entra import EntraCredentials, without_user
from shared_code.adapters.redis_wire import RedisWire
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


def wire(redis_url: str, login: EntraCredentials) -> RedisWire:
    return RedisWire(connect(without_user(redis_url)[0], login))


async def who(wire: RedisWire) -> str:
    """As whom Redis knows us, as soon as it does."""
    async with asyncio.timeout(10):
        while True:
            try:
                return (await wire.ask("ACL", "WHOAMI")).decode()
            except (RedisError, OSError):
                await asyncio.sleep(0.05)


async def test_the_managed_identity_opens_redis(
    vault: KeyVault, identity: AzureIdentity, server: redis.asyncio.Redis, redis_url: str, user: str
) -> None:
    await admit(server, user, vault.token(REDIS))
    assert without_user(as_user(redis_url, user)) == ("redis://" + redis_url.rpartition("@")[2], user)
    login = EntraCredentials(user, lambda: identity.token(azure_identity.REDIS))
    opened = wire(redis_url, login)
    assert await who(opened) == user
    await opened.close()
    await login.close()


async def test_without_a_user_in_the_url_the_token_says_who_it_is(
    server: redis.asyncio.Redis, redis_url: str, user: str
) -> None:
    claims = urlsafe_b64encode(json.dumps({"oid": user}).encode()).decode().rstrip("=")
    text = f"e30.{claims}.c2ln"
    await admit(server, user, text)
    login = EntraCredentials("", tokens(text))
    opened = wire(redis_url, login)
    assert await who(opened) == user
    await opened.close()


async def test_a_login_is_repeated_with_the_token_of_the_moment(
    server: redis.asyncio.Redis, redis_url: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_wire, "RENEW_SECONDS", 0.05)
    await admit(server, user, "first", "second")
    opened = wire(redis_url, EntraCredentials(user, tokens("first", "second")))
    assert await who(opened) == user
    await admit(server, user, "second")
    before = (await server.info("commandstats"))["cmdstat_auth"]["calls"]
    async with asyncio.timeout(10):
        while (await server.info("commandstats"))["cmdstat_auth"]["calls"] < before + 2:
            await asyncio.sleep(0.02)
    assert await opened.ask("PING") == b"PONG"
    await opened.close()


async def test_without_a_token_redis_counts_as_down_at_once_and_later_as_up(
    server: redis.asyncio.Redis, redis_url: str, user: str
) -> None:
    there = asyncio.Event()

    async def token() -> Token:
        await there.wait()
        return Token(text="late", expires_at=time.time() + 3600)

    await admit(server, user, "late")
    opened = wire(redis_url, EntraCredentials(user, token))
    started = time.monotonic()
    with pytest.raises(RedisDown), translated():
        await opened.ask("PING")
    assert time.monotonic() - started < 3  # against 4.5 by default
    there.set()
    assert await who(opened) == user
    await opened.close()


async def test_while_no_new_token_can_be_had_the_last_one_is_used() -> None:
    login = EntraCredentials("me", tokens("good", None, "better"))
    given = [await login.get_credentials_async() for _ in range(3)]
    assert given == [("me", "good"), ("me", "good"), ("me", "better")]


async def test_without_any_token_nobody_logs_in() -> None:
    with pytest.raises(AuthenticationError):
        await EntraCredentials("me", tokens(None)).get_credentials_async()


def tokens(*texts: str | None) -> Callable[[], Awaitable[Token]]:
    """One after the other, and then the last one for ever; None is an identity service that fails."""
    left = list(texts)

    async def token() -> Token:
        text = left.pop(0) if len(left) > 1 else left[0]
        if text is None:
            raise errors.Unavailable()
        return Token(text=text, expires_at=time.time() + 3600)

    return token
