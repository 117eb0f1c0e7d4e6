"""What partners sign and send, and what becomes of it."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import httpx
import psycopg
from psycopg.rows import dict_row

from tests import services
from tests.functions.stack import Connected, Headers, Json, Stack
from tests.services import web


def new_secret(api: httpx.Client, partner: Connected, **body: object) -> str:
    made = api.post(f"{partner.path}/inbound-secret", json=body, headers=partner.key)
    assert made.status_code == 201, made.text
    assert made.json().keys() == {"secret"}
    return made.json()["secret"]


def signature(secret: str, message_id: str, timestamp: int | str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def signed(secret: str, body: bytes, *, message_id: str = "", at: int | None = None, prefix: str = "svix") -> Headers:
    """What a partner sends beside the body, right in every way."""
    message_id, timestamp = message_id or f"msg_{uuid4().hex}", int(time.time()) if at is None else at
    return {
        f"{prefix}-id": message_id,
        f"{prefix}-timestamp": str(timestamp),
        f"{prefix}-signature": signature(secret, message_id, timestamp, body),
    }


def send(api: httpx.Client, partner: Connected, headers: Headers, body: bytes) -> httpx.Response:
    return api.post(f"/webhooks/partner/{partner.id}", headers=headers, content=body)


def order(**data: object) -> bytes:
    return json.dumps({"type": "order.created", "data": {"number": "A-1", **data}}).encode()


def deliver(api: httpx.Client, partner: Connected, secret: str, body: bytes) -> None:
    answer = send(api, partner, signed(secret, body), body)
    assert (answer.status_code, answer.json()) == (200, {"received": True, "duplicate": False})


def rows(xano: services.Service, partner: Connected) -> list[Json]:
    headers = {"Authorization": f"Bearer {xano.secret}", "X-Partner-Id": partner.id}
    return web.get(f"{xano.url}/orders", headers=headers).raise_for_status().json()


def inbox(stack: Stack, partner: Connected) -> list[dict[str, Any]]:
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM inbox WHERE partner_id = %s ORDER BY id", (partner.id,)).fetchall()


def worked(stack: Stack, partner: Connected) -> bool:
    return all(item["done_at"] or item["buried_at"] for item in inbox(stack, partner))


def reviews(api: httpx.Client, admin: Headers, partner: Connected) -> list[Json]:
    listed = api.get("/api/reviews", params={"limit": 200, "kind": "inbound_unroutable"}, headers=admin)
    assert listed.status_code == 200, listed.text
    return [each for each in listed.json()["reviews"] if each["partner_id"] == partner.id]


BODY = order(external_id="garbage")


def shape(problem: Json) -> Json:
    """All that the refusals must have in common: everything but the request's own id."""
    return {name: value for name, value in problem.items() if name not in ("request_id", "instance")}
