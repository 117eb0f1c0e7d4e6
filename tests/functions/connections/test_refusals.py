"""All that can go wrong on the way, and a page for each."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.functions.connections.pages import assert_page, turned_away
from tests.functions.oauth import (
    Server,
    audit,
    connection,
    dance,
    depart,
    granted,
    new_link,
    oauth_partner,
    put_settings,
)
from tests.functions.stack import Connect, Connected, Headers, Json


def with_query(url: str, **changes: str | None) -> str:
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} | changes
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{url.partition('?')[0]}?{urlencode(kept)}"


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
    "path", ["/oauth/callback?state=%00", "/oauth/authorize/6f2b1c1e-0000-4000-8000-000000000001?link=%00"]
)
def test_what_cannot_even_be_read_is_a_page_too(api: httpx.Client, path: str):
    answer = api.get(path)
    assert answer.status_code == 400
    assert_page(answer, "Bad Request")
    assert "<code>invalid_parameter</code>" in answer.text


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
