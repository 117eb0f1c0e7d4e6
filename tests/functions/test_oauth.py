"""Connections by OAuth: the way there and back, all that can go wrong on it, and tokens that stay good."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.functions.oauth import (
    Server,
    Trip,
    connected_partner,
    connection,
    dance,
    depart,
    granted,
    new_link,
    oauth_partner,
    orders,
    put_settings,
)
from tests.functions.stack import Connect, Connected, Headers, Json, Stack, pointers, refused
from tests.services import eventually


@pytest.fixture
def server(partner_url: str) -> Server:
    return Server(partner_url)


@pytest.fixture
def shop(api: httpx.Client, admin: Headers, connect: Connect, server: Server) -> Connected:
    """A partner with settings, not yet connected."""
    partner = oauth_partner(connect, server.url)
    put_settings(api, admin, partner, server.settings())
    return partner


@pytest.fixture
def connected(api: httpx.Client, admin: Headers, connect: Connect, server: Server) -> Connected:
    return connected_partner(api, admin, connect, server)


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as opened:
        yield opened


def audit(api: httpx.Client, admin: Headers, partner: Connected | None, event_type: str) -> list[Json]:
    whose = f"partner_id={partner.id}&" if partner else ""
    return api.get(f"/api/logs?{whose}event_type={event_type}", headers=admin).json()["logs"]


def turned_away(answer: httpx.Response, reason: str) -> None:
    """The page of a refusal: ours from end to end."""
    assert answer.status_code == 400, answer.text
    assert_page(answer, "Authorization failed")
    assert f"<code>{reason}</code>" in answer.text


def assert_page(answer: httpx.Response, heading: str) -> None:
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert '<html lang="en">' in answer.text
    assert f"<h1>{heading}</h1>" in answer.text
    assert re.search(r"<title>[^<]+</title>", answer.text)
    assert "<script" not in answer.text


def with_query(url: str, **changes: str | None) -> str:
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} | changes
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{url.partition('?')[0]}?{urlencode(kept)}"


# ── The way there and back ───────────────────────────────────────────────────────────────────────


def test_a_partner_is_connected_and_its_api_reached_with_the_token(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server
):
    assert connection(api, admin, shop) == {
        "status": "disconnected",
        "scopes": [],
        "expires_at": None,
        "refreshed_at": None,
    }
    refused(orders(api, admin, shop), 409, "conflict")
    answer = dance(api, admin, shop)
    assert answer.status_code == 200
    assert_page(answer, "Authorization successful")
    standing = connection(api, shop.key, shop)
    assert (standing["status"], standing["scopes"]) == ("connected", ["orders:read", "inventory:read"])
    lives = datetime.fromisoformat(standing["expires_at"]) - datetime.fromisoformat(standing["refreshed_at"])
    assert lives == timedelta(hours=1)
    assert api.get(shop.path, headers=admin).json()["status"] == "active"
    assert orders(api, admin, shop).status_code == 200
    tried = api.post(f"{shop.path}/test", headers=shop.key).json()
    assert "credentials" not in tried["checks"][0]["detail"]
    (row,) = audit(api, admin, shop, "connection.connected")
    assert (row["actor"], row["severity"]) == ("browser", "info")
    assert server.counts()["codes"] == 1


def test_the_browser_is_sent_with_a_state_pkce_and_the_exact_redirect_uri(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server, stack: Stack
):
    made = api.post(f"{shop.path}/connect-link", headers=admin)
    assert made.json().keys() == {"url", "expires_at"}
    assert made.json()["url"].startswith(f"{stack.url}/oauth/authorize/{shop.id}?link=")
    answer = api.get(made.json()["url"])
    assert answer.status_code == 302
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    cookie = {part.strip().lower().partition("=")[0] for part in answer.headers["set-cookie"].split(";")[1:]}
    assert cookie == {"path", "secure", "httponly", "samesite", "max-age"}
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert "path=/;" in answer.headers["set-cookie"].lower() + ";"
    query = Trip(answer.headers["location"], "").query
    assert answer.headers["location"].startswith(f"{server.url}/oauth/authorize?")
    assert query["redirect_uri"] == f"{stack.url}/oauth/callback"
    assert (query["response_type"], query["client_id"]) == ("code", server.client_id)
    assert (query["code_challenge_method"], query["scope"]) == ("S256", "orders:read inventory:read")
    assert re.fullmatch(r"[A-Za-z0-9_\-]{43}", query["code_challenge"])
    assert re.fullmatch(r"[A-Za-z0-9_\-]{43}", query["state"])
    assert shop.id not in query["state"]


def test_the_settings_never_show_the_secret_and_refuse_what_cannot_work(
    api: httpx.Client, admin: Headers, connect: Connect, shop: Connected, server: Server
):
    shown = put_settings(api, admin, shop, server.settings())
    assert "client_secret" not in shown
    assert "not-so" not in str(shown)
    (row, *_) = audit(api, admin, shop, "connection.settings_put")
    assert "not-so" not in str(row)
    path = f"{shop.path}/oauth"
    for changes, pointer in (
        ({"authorize_url": None}, "/authorize_url"),
        ({"token_url": "http://partner.example/token"}, "/token_url"),
        ({"revoke_url": "https://10.0.0.1/revoke"}, "/revoke_url"),
        ({"scopes": ["a b"]}, "/scopes/0"),
        ({"grant": "password"}, "/grant"),
        ({"redirect_uri": "https://evil.example"}, "/redirect_uri"),
    ):
        problem = refused(api.put(path, json=server.settings(**changes), headers=admin), 422)
        assert pointers(problem) == [pointer]
    refused(api.put(f"{connect().path}/oauth", json=server.settings(), headers=admin), 409, "conflict")
    refused(api.put(f"/api/partners/{uuid4()}/oauth", json=server.settings(), headers=admin), 404)


def test_a_link_needs_settings_and_is_made_once_for_one_idempotency_key(
    api: httpx.Client, admin: Headers, connect: Connect, shop: Connected
):
    refused(api.post(f"{connect(auth_method='oauth2').path}/connect-link", headers=admin), 409, "conflict")
    refused(api.post(f"/api/partners/{uuid4()}/connect-link", headers=admin), 404)
    key = admin | {"Idempotency-Key": uuid4().hex}
    first, second = (api.post(f"{shop.path}/connect-link", headers=key).json() for _ in range(2))
    assert first == second
    assert new_link(api, admin, shop) != first["url"]


def test_a_suspended_partner_stays_suspended(api: httpx.Client, admin: Headers, shop: Connected):
    api.post(f"{shop.path}/suspend", headers=admin).raise_for_status()
    assert dance(api, admin, shop).status_code == 200
    assert connection(api, admin, shop)["status"] == "connected"
    assert api.get(shop.path, headers=admin).json()["status"] == "suspended"


def test_a_partner_sees_its_own_connection_alone(api: httpx.Client, connect: Connect, connected: Connected):
    stranger = connect()
    for method in ("GET", "DELETE"):
        refused(api.request(method, f"{connected.path}/connection", headers=stranger.key), 404)
    assert connection(api, connected.key, connected)["status"] == "connected"


def test_the_secret_can_go_in_the_form_instead(api: httpx.Client, admin: Headers, connect: Connect, server: Server):
    partner = connected_partner(api, admin, connect, server, client_auth="client_secret_post")
    assert orders(api, admin, partner).status_code == 200


# ── All that can go wrong ────────────────────────────────────────────────────────────────────────


def nothing_happened(api: httpx.Client, admin: Headers, shop: Connected, server: Server) -> None:
    assert connection(api, admin, shop)["status"] == "disconnected"
    assert api.get(shop.path, headers=admin).json()["status"] == "pending"
    assert server.counts()["codes"] == 0


def reasons(api: httpx.Client, admin: Headers, shop: Connected) -> list[str]:
    rows = audit(api, admin, shop, "connection.refused")
    assert {row["severity"] for row in rows} <= {"warning"}
    return [row["metadata"]["changes"]["reason"] for row in rows]


def test_a_state_counts_once(api: httpx.Client, admin: Headers, shop: Connected, server: Server):
    trip = depart(api, new_link(api, admin, shop))
    back = granted(trip)
    assert api.get(back, headers=trip.headers).status_code == 200
    turned_away(api.get(back, headers=trip.headers), "state_used")
    assert reasons(api, admin, shop) == ["state_used"]
    assert server.counts()["codes"] == 1


def test_a_state_of_another_browser_is_refused_and_stays_good_for_its_own(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server
):
    mine, other = (depart(api, new_link(api, admin, shop)) for _ in range(2))
    back = granted(mine)
    turned_away(api.get(back, headers=other.headers), "state_foreign")
    turned_away(api.get(back), "cookie_missing")
    nothing_happened(api, admin, shop, server)
    assert sorted(reasons(api, admin, shop)) == ["cookie_missing", "state_foreign"]
    assert api.get(back, headers=mine.headers).status_code == 200


def test_a_state_of_ten_minutes_ago_is_refused(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server, database: psycopg.Connection
):
    trip = depart(api, new_link(api, admin, shop))
    back = granted(trip)
    aged = "UPDATE oauth_states SET expires_at = expires_at - interval '10 minutes' WHERE partner_id = %s"
    database.execute(aged, (shop.id,))
    turned_away(api.get(back, headers=trip.headers), "state_expired")
    nothing_happened(api, admin, shop, server)
    assert reasons(api, admin, shop) == ["state_expired"]


@pytest.mark.parametrize("state", [None, "", "guessed", "A" * 43, "x" * 5000, "<b>é</b>"])
def test_a_guessed_state_is_refused(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server, state: str | None
):
    trip = depart(api, new_link(api, admin, shop))
    asked = f"test-{uuid4().hex}"
    answer = api.get(with_query(granted(trip), state=state), headers=trip.headers | {"X-Request-Id": asked})
    turned_away(answer, "state_unknown")
    nothing_happened(api, admin, shop, server)
    (row,) = api.get(f"/api/logs?request_id={asked}", headers=admin).json()["logs"]
    assert (row["event_type"], row["partner_id"], row["target"]) == ("connection.refused", None, "unknown")
    assert not state or state not in str(row)


@pytest.mark.parametrize("issuer", ["https://evil.example", "http://127.0.0.1:1", "nonsense", "http://[", "x:y:z"])
def test_another_issuer_is_refused(api: httpx.Client, admin: Headers, shop: Connected, server: Server, issuer: str):
    trip = depart(api, new_link(api, admin, shop))
    back = with_query(granted(trip), iss=issuer)
    turned_away(api.get(back, headers=trip.headers), "issuer_mismatch")
    turned_away(api.get(with_query(back, iss=server.url), headers=trip.headers), "state_used")
    nothing_happened(api, admin, shop, server)
    assert sorted(reasons(api, admin, shop)) == ["issuer_mismatch", "state_used"]


def test_the_issuer_of_the_settings_is_the_only_one(api: httpx.Client, admin: Headers, shop: Connected, server: Server):
    put_settings(api, admin, shop, server.settings(issuer=f"{server.url}/tenant"))
    turned_away(dance(api, admin, shop), "issuer_mismatch")
    server.behaves(iss=f"{server.url}/tenant")
    assert dance(api, admin, shop).status_code == 200


def test_a_denial_and_other_errors_are_pages_without_the_other_sides_words(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server
):
    server.behaves(deny=True)
    answer = dance(api, admin, shop)
    turned_away(answer, "access_denied")
    assert "person said no" not in answer.text
    trip = depart(api, new_link(api, admin, shop))
    back = with_query(granted(trip), error="<script>alert(1)</script>")
    turned_away(api.get(back, headers=trip.headers), "server_refused")
    server.behaves(deny=False)
    trip = depart(api, new_link(api, admin, shop))
    turned_away(api.get(with_query(granted(trip), code=None), headers=trip.headers), "code_missing")
    nothing_happened(api, admin, shop, server)
    assert reasons(api, admin, shop) == ["code_missing", "server_refused", "access_denied"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"error": "invalid_grant"}, "token_refused"),
        ({"error": "<b>"}, "token_refused"),
        ({"status": 500}, "server_unavailable"),
        ({"status": 429}, "server_unavailable"),
        ({"nonsense": True}, "server_unavailable"),
    ],
)
def test_a_server_that_gives_no_token_is_a_page_too(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server, behaviour: Json, reason: str
):
    server.behaves(**behaviour)
    answer = dance(api, admin, shop)
    turned_away(answer, reason)
    assert "secret-sounding" not in answer.text
    assert connection(api, admin, shop)["status"] == "disconnected"
    assert api.get(shop.path, headers=admin).json()["status"] == "pending"
    assert reasons(api, admin, shop) == [reason]


def test_a_code_of_another_trip_is_refused_by_pkce(api: httpx.Client, admin: Headers, shop: Connected, server: Server):
    """What an attacker would put into a victim's browser."""
    mine, other = (depart(api, new_link(api, admin, shop)) for _ in range(2))
    code = parse_qs(urlsplit(granted(other)).query)["code"][0]
    turned_away(api.get(with_query(granted(mine), code=code), headers=mine.headers), "token_refused")
    assert connection(api, admin, shop)["status"] == "disconnected"


def test_a_link_works_once_within_its_time_for_its_partner(
    api: httpx.Client, admin: Headers, connect: Connect, shop: Connected, server: Server, database: psycopg.Connection
):
    link = new_link(api, admin, shop)
    depart(api, link)
    turned_away(api.get(link), "link_used")
    old = new_link(api, admin, shop)
    aged = "UPDATE oauth_links SET expires_at = expires_at - interval '30 minutes' WHERE partner_id = %s"
    database.execute(aged, (shop.id,))
    turned_away(api.get(old), "link_expired")
    other = oauth_partner(connect, server.url)
    foreign = new_link(api, admin, shop).replace(shop.id, other.id)
    for unknown in (foreign, with_query(link, link="guessed"), with_query(link, link=None)):
        turned_away(api.get(unknown), "link_unknown")
    turned_away(api.get("/oauth/authorize/nobody?link=x"), "link_unknown")
    assert sorted(reasons(api, admin, shop)) == ["link_expired", "link_used"]
    nothing_happened(api, admin, shop, server)


def test_of_many_who_use_one_link_or_one_state_at_once_one_gets_through(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server
):
    link = new_link(api, admin, shop)
    with ThreadPoolExecutor(20) as pool:
        left = list(pool.map(lambda _: api.get(link), range(40)))
    assert sorted(answer.status_code for answer in left) == [302] + [400] * 39
    trip = depart(api, new_link(api, admin, shop))
    back = granted(trip)
    with ThreadPoolExecutor(20) as pool:
        arrived = list(pool.map(lambda _: api.get(back, headers=trip.headers), range(60)))
    assert sorted(answer.status_code for answer in arrived) == [200] + [400] * 59
    assert server.counts()["codes"] == 1
    assert len(audit(api, admin, shop, "connection.connected")) == 1


def test_new_settings_call_back_whoever_is_on_the_way(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server
):
    trip = depart(api, new_link(api, admin, shop))
    back = granted(trip)
    put_settings(api, admin, shop, server.settings(token_url=f"{server.url}/oauth/token?other"))
    turned_away(api.get(back, headers=trip.headers), "state_unknown")
    nothing_happened(api, admin, shop, server)


def test_a_removed_partner_cannot_be_connected(api: httpx.Client, admin: Headers, shop: Connected):
    link, trip = new_link(api, admin, shop), depart(api, new_link(api, admin, shop))
    back = granted(trip)
    api.delete(shop.path, headers=admin).raise_for_status()
    turned_away(api.get(link), "link_unknown")
    turned_away(api.get(back, headers=trip.headers), "state_unknown")


# ── Tokens stay good ─────────────────────────────────────────────────────────────────────────────


def expire(database: psycopg.Connection, partner: Connected) -> None:
    database.execute(
        "UPDATE oauth_connections SET expires_at = now() - interval '1 second' WHERE partner_id = %s", (partner.id,)
    )


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
    database.execute(held, (connected.id,))
    began = time.monotonic()
    assert orders(api, admin, connected).status_code == 200
    assert 0.8 < time.monotonic() - began < 8
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


# ── Disconnecting ────────────────────────────────────────────────────────────────────────────────


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
    assert httpx.post(url, json={}, headers={"x-functions-key": stack.host.secret}).status_code == 202


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


def test_an_idle_connection_is_kept_alive_and_old_passes_are_deleted(
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
    for table in ("oauth_links", "oauth_states"):
        old = f"UPDATE {table} SET expires_at = expires_at - interval '25 hours' WHERE partner_id = %s"
        database.execute(old.encode(), (connected.id,))
    fire(stack)
    assert eventually(lambda: server.counts()["refreshes"] == 1)
    left = """SELECT (SELECT count(*) FROM oauth_links WHERE partner_id = %(id)s),
                     (SELECT count(*) FROM oauth_states WHERE partner_id = %(id)s)"""
    assert eventually(lambda: database.execute(left, {"id": connected.id}).fetchone() == (0, 0))
    assert orders(api, admin, connected).status_code == 200
    assert server.counts()["refreshes"] == 1


# ── Secrets ──────────────────────────────────────────────────────────────────────────────────────


def test_no_token_state_or_link_lies_open_in_the_database(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server, database: psycopg.Connection
):
    link = new_link(api, admin, shop)
    trip = depart(api, link)
    api.get(granted(trip), headers=trip.headers).raise_for_status()
    kept = "".join(
        str(database.execute(f"SELECT row_to_json(t)::text FROM {table} t".encode()).fetchall())
        for table in ("oauth_providers", "oauth_links", "oauth_states", "oauth_connections", "integration_logs")
    )
    secrets = [link.rpartition("=")[2], trip.cookie, trip.query["state"], "not-so secret", "at_", "rt_"]
    assert [secret for secret in secrets if secret in kept] == []
    assert server.client_id in kept


def test_a_token_moved_to_another_partners_row_does_not_decrypt(
    api: httpx.Client,
    admin: Headers,
    connect: Connect,
    connected: Connected,
    partner_url: str,
    database: psycopg.Connection,
):
    thief = connected_partner(api, admin, connect, Server(partner_url))
    database.execute(
        """UPDATE oauth_connections SET access_token_encrypted =
             (SELECT access_token_encrypted FROM oauth_connections WHERE partner_id = %s) WHERE partner_id = %s""",
        (connected.id, thief.id),
    )
    problem = refused(orders(api, admin, thief), 500, "internal_error")
    assert "decrypted" in problem["detail"]
    database.execute(
        "UPDATE oauth_connections SET access_token_encrypted = refresh_token_encrypted WHERE partner_id = %s",
        (connected.id,),
    )
    refused(orders(api, admin, connected), 500, "internal_error")
