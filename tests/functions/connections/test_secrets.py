"""No token, state or link lies open in the database, or moves between partners."""

import re

import httpx
import psycopg

from tests.functions.oauth import Server, connected_partner, depart, granted, new_link, orders
from tests.functions.stack import Connect, Connected, Headers, refused

TOKEN = re.compile(r"(?<![\w-])[ar]t_[\w-]{43}(?![\w-])")
"""Of the partner's server. What is sealed may have the first letters of one in it, as any letters."""


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
    secrets = [link.rpartition("=")[2], trip.cookie, trip.query["state"], "not-so secret"]
    assert [secret for secret in secrets if secret in kept] == []
    assert not TOKEN.search(kept)
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
