"""The way there and back: settings, a link, a browser, a callback."""

import re
from datetime import datetime, timedelta
from uuid import uuid4

import httpx

from tests.functions.connections.pages import assert_page
from tests.functions.oauth import (
    Server,
    Trip,
    audit,
    connected_partner,
    connection,
    dance,
    new_link,
    orders,
    put_settings,
)
from tests.functions.stack import Connect, Connected, Headers, Stack, pointers, refused


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
