"""The whole way of a browser that connects a partner, step by step, and the partner's OAuth server at its other end."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import psycopg

from tests.functions.stack import Connect, Connected, Headers, Json
from tests.services import web

COOKIE = "__Host-pinksync_oauth"


@dataclass(frozen=True, slots=True)
class Server:
    """The partner's OAuth server, as one client of it sees it."""

    url: str
    client_id: str = field(default_factory=lambda: f"client-{uuid4().hex}")

    def settings(self, **changes: Any) -> Json:
        return {
            "grant": "authorization_code",
            "authorize_url": f"{self.url}/oauth/authorize",
            "token_url": f"{self.url}/oauth/token",
            "revoke_url": f"{self.url}/oauth/revoke",
            "client_id": self.client_id,
            "client_secret": "not-so secret/+%",
            "scopes": ["orders:read", "inventory:read"],
        } | changes

    def behaves(self, **told: Any) -> None:
        web.put(f"{self.url}/_devstack/oauth/{self.client_id}", json=told).raise_for_status()

    def counts(self) -> Json:
        return web.get(f"{self.url}/_devstack/oauth/{self.client_id}").raise_for_status().json()

    def rejects_access_tokens(self) -> None:
        web.delete(f"{self.url}/_devstack/oauth/{self.client_id}/access-tokens").raise_for_status()


@dataclass(frozen=True, slots=True)
class Trip:
    """A browser that was sent to the partner's server, and what it has with it."""

    location: str
    cookie: str

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.location).query).items()}

    @property
    def headers(self) -> Headers:
        return {"Cookie": f"other=1; {COOKIE}={self.cookie}"}


def oauth_partner(connect: Connect, partner_url: str, **overrides: Any) -> Connected:
    return connect(auth_method="oauth2", api_endpoint=f"{partner_url}/api", **overrides)


def put_settings(api: httpx.Client, admin: Headers, partner: Connected, settings: Json) -> Json:
    answer = api.put(f"{partner.path}/oauth", json=settings, headers=admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


def new_link(api: httpx.Client, admin: Headers, partner: Connected) -> str:
    answer = api.post(f"{partner.path}/connect-link", headers=admin)
    assert answer.status_code == 201, answer.text
    return answer.json()["url"]


def depart(api: httpx.Client, link: str) -> Trip:
    answer = api.get(link)
    assert answer.status_code == 302, answer.text
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    assert name == COOKIE
    return Trip(answer.headers["location"], value)


def granted(trip: Trip) -> str:
    """Where the partner's server sends the browser back to."""
    answer = web.get(trip.location)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def dance(api: httpx.Client, admin: Headers, partner: Connected) -> httpx.Response:
    """All of it: the page at its end."""
    trip = depart(api, new_link(api, admin, partner))
    return api.get(granted(trip), headers=trip.headers)


def connected_partner(
    api: httpx.Client, admin: Headers, connect: Connect, server: Server, **settings: Any
) -> Connected:
    partner = oauth_partner(connect, server.url)
    put_settings(api, admin, partner, server.settings(**settings))
    answer = dance(api, admin, partner)
    assert answer.status_code == 200, answer.text
    return partner


def connection(api: httpx.Client, key: Headers, partner: Connected) -> Json:
    answer = api.get(f"{partner.path}/connection", headers=key)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"status", "scopes", "expires_at", "refreshed_at"}
    return answer.json()


def orders(api: httpx.Client, key: Headers, partner: Connected) -> httpx.Response:
    return api.get(f"/api/proxy/{partner.id}/orders?limit=1", headers=key)


def audit(api: httpx.Client, admin: Headers, partner: Connected | None, event_type: str) -> list[Json]:
    whose = f"partner_id={partner.id}&" if partner else ""
    return api.get(f"/api/logs?{whose}event_type={event_type}", headers=admin).json()["logs"]


def expire(database: psycopg.Connection, partner: Connected) -> None:
    database.execute(
        "UPDATE oauth_connections SET expires_at = now() - interval '1 second' WHERE partner_id = %s", (partner.id,)
    )
