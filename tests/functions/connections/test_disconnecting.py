"""Disconnecting: tokens are revoked, owed until they are, and given back when they come late."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg

from tests.functions.oauth import Server, audit, connection, expire, orders, put_settings
from tests.functions.stack import Connected, Headers, Stack, refused
from tests.services import eventually, web


def stored(database: psycopg.Connection, partner: Connected) -> tuple[Any, ...] | None:
    query = "SELECT access_token_encrypted, refresh_token_encrypted FROM oauth_connections WHERE partner_id = %s"
    return database.execute(query, (partner.id,)).fetchone()


def test_a_disconnected_partner_is_revoked_at_its_server(
    api: httpx.Client, connected: Connected, admin: Headers, server: Server, database: psycopg.Connection
):
    for _ in range(2):
        answer = api.delete(f"{connected.path}/connection", headers=connected.key)
        assert (answer.status_code, answer.json()["status"]) == (200, "disconnected")
        assert answer.json()["expires_at"] is None
    assert server.counts()["revocations"] == 2  # the refresh token and the access token
    assert stored(database, connected) == (None, None)
    refused(orders(api, admin, connected), 409, "conflict")
    assert len(audit(api, admin, connected, "connection.disconnected")) == 1
    assert api.get(connected.path, headers=admin).json()["status"] == "active"


def test_a_token_that_comes_after_the_end_is_given_back(
    api: httpx.Client, admin: Headers, connected: Connected, server: Server, database: psycopg.Connection
):
    server.behaves(rotate=True, delay_ms=700)
    expire(database, connected)
    with ThreadPoolExecutor(1) as pool:
        on_its_way = pool.submit(orders, api, admin, connected)
        eventually(lambda: server.counts()["token_requests"] == 2)
        api.delete(f"{connected.path}/connection", headers=admin).raise_for_status()
        refused(on_its_way.result(), 409, "conflict")
    assert eventually(lambda: server.counts()["revocations"] == 4)
    assert stored(database, connected) == (None, None)
    assert connection(api, admin, connected)["status"] == "disconnected"


def test_settings_put_while_a_token_is_on_its_way_do_not_lose_it(
    api: httpx.Client, admin: Headers, connected: Connected, server: Server, database: psycopg.Connection
):
    server.behaves(rotate=True, delay_ms=700)
    expire(database, connected)
    with ThreadPoolExecutor(1) as pool:
        on_its_way = pool.submit(orders, api, admin, connected)
        eventually(lambda: server.counts()["token_requests"] == 2)
        put_settings(api, admin, connected, server.settings(client_secret="another"))
        assert on_its_way.result().status_code == 200
    server.rejects_access_tokens()
    assert orders(api, admin, connected).status_code == 200
    assert server.counts()["refreshes"] == 2


def fire(stack: Stack) -> None:
    url = f"{stack.url}/admin/functions/token_refresh"
    assert web.post(url, json={}, headers={"x-functions-key": stack.host.secret}).status_code == 202


def test_a_revocation_that_fails_is_owed_until_it_succeeds(
    api: httpx.Client,
    stack: Stack,
    connected: Connected,
    admin: Headers,
    server: Server,
    database: psycopg.Connection,
):
    server.behaves(status=500)
    assert api.delete(f"{connected.path}/connection", headers=admin).json()["status"] == "disconnected"
    refused(orders(api, admin, connected), 409, "conflict")
    assert stored(database, connected) != (None, None)
    server.behaves()
    database.execute("UPDATE oauth_connections SET not_before = now() WHERE partner_id = %s", (connected.id,))
    fire(stack)
    assert eventually(lambda: stored(database, connected) == (None, None))
    assert server.counts()["revocations"] == 2


def test_a_removed_partners_tokens_are_revoked_by_the_timer(
    api: httpx.Client,
    stack: Stack,
    connected: Connected,
    admin: Headers,
    server: Server,
    database: psycopg.Connection,
):
    api.delete(connected.path, headers=admin).raise_for_status()
    fire(stack)
    assert eventually(lambda: stored(database, connected) == (None, None))
    assert server.counts()["revocations"] == 2


def test_an_idle_connection_is_kept_alive(
    api: httpx.Client,
    stack: Stack,
    connected: Connected,
    admin: Headers,
    server: Server,
    database: psycopg.Connection,
):
    server.behaves(rotate=True)
    idle = "UPDATE oauth_connections SET refreshed_at = refreshed_at - interval '25 hours' WHERE partner_id = %s"
    database.execute(idle, (connected.id,))
    fire(stack)
    assert eventually(lambda: server.counts()["refreshes"] == 1)
    assert orders(api, admin, connected).status_code == 200
    assert server.counts()["refreshes"] == 1
