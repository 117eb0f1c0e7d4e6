"""Tokens stay good for as long as the partner's server will have it."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.functions.oauth import (
    Server,
    audit,
    connected_partner,
    connection,
    dance,
    expire,
    oauth_partner,
    orders,
    put_settings,
)
from tests.functions.stack import Connect, Connected, Headers, refused
from tests.services import eventually


def age(database: psycopg.Connection, partner: Connected) -> None:
    """Its token got an hour ago has 50 seconds left."""
    database.execute(
        """UPDATE oauth_connections SET expires_at = now() + interval '50 seconds',
             refreshed_at = now() - interval '1 hour' WHERE partner_id = %s""",
        (partner.id,),
    )


@pytest.mark.parametrize("rotate", [False, True])
def test_a_token_that_has_ended_is_renewed_again_and_again(
    api: httpx.Client,
    admin: Headers,
    connected: Connected,
    server: Server,
    database: psycopg.Connection,
    rotate: bool,
):
    server.behaves(rotate=rotate)
    before = connection(api, admin, connected)
    for turn in range(1, 4):
        expire(database, connected)
        server.rejects_access_tokens()
        assert orders(api, admin, connected).status_code == 200
        assert orders(api, admin, connected).status_code == 200
        assert server.counts()["refreshes"] == turn
    after = connection(api, admin, connected)
    assert after["refreshed_at"] > before["refreshed_at"]
    assert after["expires_at"] > before["expires_at"]


def test_a_token_is_renewed_before_it_ends(
    api: httpx.Client, admin: Headers, connected: Connected, server: Server, database: psycopg.Connection
):
    assert orders(api, admin, connected).status_code == 200
    assert server.counts()["refreshes"] == 0
    age(database, connected)
    assert orders(api, admin, connected).status_code == 200
    assert server.counts()["refreshes"] == 1


def test_a_token_that_is_answered_401_is_renewed_once_and_the_call_repeated_once(
    api: httpx.Client, admin: Headers, connected: Connected, server: Server
):
    server.rejects_access_tokens()
    made = api.post(f"/api/proxy/{connected.id}/orders", json={"number": uuid4().hex}, headers=admin)
    assert made.status_code == 201, made.text
    assert server.counts()["refreshes"] == 1
    server.rejects_access_tokens()
    for _ in range(3):  # an API that takes no token at all costs one renewal, not one for each call
        assert orders(api, admin, connected).status_code == 401
    assert server.counts()["refreshes"] == 1


def test_a_server_that_fails_is_left_alone_for_a_while_and_the_token_used_to_its_end(
    api: httpx.Client, admin: Headers, connected: Connected, server: Server, database: psycopg.Connection
):
    server.behaves(status=500)
    age(database, connected)
    for _ in range(3):
        assert orders(api, admin, connected).status_code == 200
    assert server.counts()["token_requests"] == 2
    expire(database, connected)
    answer = orders(api, admin, connected)
    refused(answer, 503, "token_unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert connection(api, admin, connected)["status"] == "connected"
    assert len(audit(api, admin, connected, "connection.refresh_failed")) == 1
    server.behaves()
    rested = "UPDATE oauth_connections SET not_before = now() WHERE partner_id = %s"
    database.execute(rested, (connected.id,))
    assert orders(api, admin, connected).status_code == 200


def test_a_renewal_whose_process_died_is_taken_over_when_its_lease_ends(
    api: httpx.Client, admin: Headers, connected: Connected, server: Server, database: psycopg.Connection
):
    expire(database, connected)
    held = "UPDATE oauth_connections SET lease_until = now() + interval '1 second' WHERE partner_id = %s"
    began = time.monotonic()
    database.execute(held, (connected.id,))
    assert orders(api, admin, connected).status_code == 200
    assert 0.9 < time.monotonic() - began < 15
    assert server.counts()["refreshes"] == 1


def test_slow_servers_of_many_partners_take_no_database_connection_from_others(
    api: httpx.Client, admin: Headers, connect: Connect, partner_url: str, database: psycopg.Connection
):
    """More of them than there are connections, for longer than anybody waits for one."""
    servers = [Server(partner_url) for _ in range(6)]
    partners = [connected_partner(api, admin, connect, server) for server in servers]
    for server, partner in zip(servers, partners, strict=True):
        server.behaves(delay_ms=3000)
        expire(database, partner)
    with ThreadPoolExecutor(len(partners)) as pool:
        slow = [pool.submit(orders, api, admin, partner) for partner in partners]
        assert eventually(lambda: all(server.counts()["token_requests"] == 2 for server in servers))
        assert api.get("/api/partners", headers=admin).status_code == 200
        assert not any(each.done() for each in slow)
        assert {each.result().status_code for each in slow} == {200}


def test_a_grant_that_is_taken_no_longer_needs_a_person(
    api: httpx.Client, admin: Headers, connected: Connected, server: Server, database: psycopg.Connection
):
    server.behaves(error="invalid_grant")
    expire(database, connected)
    for _ in range(3):
        refused(orders(api, admin, connected), 409, "needs_reauth")
    assert server.counts()["refreshes"] == 0  # refused before it was counted as one
    assert server.counts()["token_requests"] == 2
    assert connection(api, admin, connected)["status"] == "needs_reauth"
    (row,) = audit(api, admin, connected, "partner.needs_reauth")
    assert (row["severity"], row["metadata"]["changes"]["reason"]) == ("warning", "invalid_grant")
    payloads = "SELECT payload FROM events WHERE partner_id = %s AND event_type = 'partner.needs_reauth'"
    assert database.execute(payloads, (connected.id,)).fetchall() == [
        ({"partner_id": connected.id, "reason": "invalid_grant"},)
    ]
    server.behaves()
    assert dance(api, admin, connected).status_code == 200
    assert connection(api, admin, connected)["status"] == "connected"
    assert orders(api, admin, connected).status_code == 200


def test_a_token_without_a_refresh_token_is_used_to_its_end(
    api: httpx.Client, admin: Headers, connect: Connect, server: Server, database: psycopg.Connection
):
    server.behaves(refresh_token=False)
    partner = connected_partner(api, admin, connect, server)
    assert orders(api, admin, partner).status_code == 200
    expire(database, partner)
    refused(orders(api, admin, partner), 409, "needs_reauth")
    assert connection(api, admin, partner)["status"] == "needs_reauth"


def test_the_clients_own_credentials_need_no_browser(
    api: httpx.Client, admin: Headers, connect: Connect, server: Server, database: psycopg.Connection
):
    partner = oauth_partner(connect, server.url)
    settings = server.settings(grant="client_credentials", authorize_url=None)
    put_settings(api, admin, partner, settings)
    assert connection(api, admin, partner)["status"] == "connected"
    assert api.get(partner.path, headers=admin).json()["status"] == "active"
    refused(api.post(f"{partner.path}/connect-link", headers=admin), 409)
    for _ in range(2):
        assert orders(api, admin, partner).status_code == 200
    assert server.counts()["client_credentials"] == 1
    expire(database, partner)
    assert orders(api, admin, partner).status_code == 200
    assert server.counts()["client_credentials"] == 2
    api.delete(f"{partner.path}/connection", headers=admin).raise_for_status()
    refused(orders(api, admin, partner), 409, "conflict")
    put_settings(api, admin, partner, settings)
    assert orders(api, admin, partner).status_code == 200


def test_credentials_that_are_put_while_the_server_is_away_work_at_the_first_use(
    api: httpx.Client, admin: Headers, connect: Connect, server: Server, database: psycopg.Connection
):
    server.behaves(status=503, times=1)
    partner = oauth_partner(connect, server.url)
    put_settings(api, admin, partner, server.settings(grant="client_credentials"))
    assert connection(api, admin, partner)["status"] == "disconnected"
    refused(orders(api, admin, partner), 503, "token_unavailable")
    database.execute("UPDATE oauth_connections SET not_before = now() WHERE partner_id = %s", (partner.id,))
    assert orders(api, admin, partner).status_code == 200
    assert api.get(partner.path, headers=admin).json()["status"] == "active"


def test_tokens_of_another_server_are_dropped_when_the_settings_change(
    api: httpx.Client, admin: Headers, connected: Connected, server: Server, partner_url: str
):
    put_settings(api, admin, connected, server.settings(client_secret="another secret"))
    assert orders(api, admin, connected).status_code == 200
    put_settings(api, admin, connected, Server(partner_url).settings())
    refused(orders(api, admin, connected), 409, "needs_reauth")
