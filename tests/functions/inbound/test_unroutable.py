"""Events in: what can never be worked is taken, reviewed once, and holds up nobody."""

import json
from uuid import uuid4

import httpx
import pytest

from tests import services
from tests.functions.inbound.messages import deliver, inbox, order, reviews, rows, send, signed, worked
from tests.functions.stack import Connected, Headers, Receiver, Stack, refused, register
from tests.services import eventually

UNROUTABLE = {
    "of an unknown type": b'{"type": "no.such.type", "data": {}}',
    "not JSON": b"hello",
    "not an object": b"[1, 2]",
    "empty": b"",
    "without data": b'{"type": "order.created"}',
    "with data that is a list": b'{"type": "order.created", "data": []}',
    "of a type that is a number": b'{"type": 5, "data": {}}',
    "of a type with a NUL": b'{"type": "order\\u0000created", "data": {}}',
    "of a type with half a character": b'{"type": "\\ud800", "data": {}}',
    "of a type as long as a book": json.dumps({"type": "x" * 100_000, "data": {}}).encode(),
    "that the backend refuses": b'{"type": "order.created", "data": {"number": "X", "status": "no such status"}}',
    "deeper than it can be written": b'{"type": "order.created", "data": {"n":' + b"[" * 500 + b"]" * 500 + b"}}",
    "as deep as a well": b'{"type": "order.created", "data": {"n":' + b"[" * 3000 + b"]" * 3000 + b"}}",
}


@pytest.mark.parametrize("name", UNROUTABLE)
def test_what_can_never_be_worked_is_taken_and_reviewed_once(
    api: httpx.Client, stack: Stack, admin: Headers, partner: Connected, secret: str, name: str
) -> None:
    body = UNROUTABLE[name]
    headers = signed(secret, body, message_id="msg_lost")
    for duplicate in (False, True):
        assert send(api, partner, headers, body).json() == {"received": True, "duplicate": duplicate}
    eventually(lambda: worked(stack, partner))
    (item,) = inbox(stack, partner)
    (review,) = reviews(api, admin, partner)
    assert item["buried_at"]
    assert review["subject"] == str(item["id"])
    assert review["reason"]
    assert (review["resolved_at"], review["note"]) == (None, None)


def test_a_poison_message_holds_up_nobody(
    api: httpx.Client, stack: Stack, xano: services.Service, partner: Connected, secret: str
) -> None:
    for body in (*UNROUTABLE.values(), order(external_id="after")):
        deliver(api, partner, secret, body)
    eventually(lambda: worked(stack, partner))
    assert [row["external_id"] for row in rows(xano, partner)] == ["after"]


def test_an_event_without_a_route_is_worked_once_it_has_one(
    api: httpx.Client, stack: Stack, admin: Headers, partner: Connected, secret: str, receiver: Receiver
) -> None:
    event_type = f"parcel.{uuid4().hex}"
    deliver(api, partner, secret, json.dumps({"type": event_type, "data": {"n": 1}}).encode())
    (review,) = eventually(lambda: reviews(api, admin, partner)) or []
    assert event_type in review["reason"]

    assert api.put(f"/api/event-types/{event_type}", json={}, headers=admin).status_code == 200
    register(api, partner.key, receiver, event_type)
    path, body = f"/api/reviews/{review['review_id']}/resolve", {"note": "Added the type.", "replay": True}
    assert api.post(path, json=body, headers=admin).status_code == 200
    assert json.loads(receiver.wait_for(1)[0]["body"]) == {"n": 1}
    eventually(lambda: worked(stack, partner))
    refused(api.post(path, json=body, headers=admin), 409, "conflict")
    assert len(reviews(api, admin, partner)) == 1


def test_what_is_resolved_without_another_try_is_owed_no_longer(
    api: httpx.Client, stack: Stack, admin: Headers, partner: Connected, secret: str
) -> None:
    deliver(api, partner, secret, UNROUTABLE["without data"])
    (review,) = eventually(lambda: reviews(api, admin, partner)) or []
    (item,) = inbox(stack, partner)
    assert (item["done_at"], bool(item["buried_at"])) == (None, True)
    answer = api.post(f"/api/reviews/{review['review_id']}/resolve", json={"note": "Theirs to mend."}, headers=admin)
    assert answer.status_code == 200
    (item,) = inbox(stack, partner)
    assert item["done_at"]
