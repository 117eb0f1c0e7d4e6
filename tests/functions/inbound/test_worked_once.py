"""Events in: whatever comes, doubled, shuffled or while the backend is down, is worked once."""

import json
import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from functions.route import SIGNED_BODY_BYTES
from tests import services
from tests.functions.inbound.messages import (
    BODY,
    deliver,
    inbox,
    new_secret,
    order,
    reviews,
    rows,
    send,
    signed,
    worked,
)
from tests.functions.stack import Connected, Headers, Receiver, Stack, connecting, refused, register
from tests.services import eventually

SHUFFLED = int(os.environ.get("PINKSYNC_SHUFFLED_MESSAGES", "300"))
"""How many messages are doubled and shuffled; the plan's own number is 1,000."""


def test_a_known_event_is_a_row_at_the_backend_and_reaches_the_partners_subscribers(
    api: httpx.Client, stack: Stack, xano: services.Service, partner: Connected, secret: str, receiver: Receiver
) -> None:
    register(api, partner.key, receiver, "order.created")
    deliver(api, partner, secret, order(external_id="ext-1", total=42.5))
    eventually(lambda: worked(stack, partner))
    (row,) = rows(xano, partner)
    assert (row["external_id"], row["number"], row["total"]) == ("ext-1", "A-1", 42.5)
    (received,) = receiver.wait_for(1)
    assert received["verified"]
    assert json.loads(received["body"]) == {"number": "A-1", "external_id": "ext-1", "total": 42.5}
    eventually(
        lambda: (
            [each["status"] for each in api.get("/api/webhooks/deliveries", headers=partner.key).json()["deliveries"]]
            == ["delivered"]
        )
    )


def test_the_other_names_of_an_envelope_are_understood(
    api: httpx.Client, stack: Stack, xano: services.Service, partner: Connected, secret: str
) -> None:
    body = json.dumps({"event_type": "order.created", "payload": {"id": 7, "number": "B-7"}}).encode()
    deliver(api, partner, secret, body)
    eventually(lambda: worked(stack, partner))
    assert [(row["external_id"], row["number"]) for row in rows(xano, partner)] == [("7", "B-7")]


def test_one_message_posted_twenty_times_at_once_is_worked_once(
    api: httpx.Client, stack: Stack, xano: services.Service, partner: Connected, secret: str, receiver: Receiver
) -> None:
    register(api, partner.key, receiver, "order.created")
    body = order(note="no id of its own")
    headers = signed(secret, body, message_id="msg_twin")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: send(api, partner, headers, body), range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert all(answer.json()["received"] is True for answer in answers)
    assert Counter(answer.json()["duplicate"] for answer in answers) == {True: 19, False: 1}
    eventually(lambda: worked(stack, partner))
    assert send(api, partner, signed(secret, body, message_id="msg_twin"), body).json()["duplicate"] is True
    assert len(inbox(stack, partner)) == len(rows(xano, partner)) == len(receiver.wait_for(1)) == 1
    assert api.get("/api/webhooks/deliveries", headers=partner.key).json()["total"] == 1


def test_the_same_message_id_of_two_partners_is_two_messages(
    api: httpx.Client, admin: Headers, partner: Connected, secret: str
) -> None:
    other = connecting(api, admin)()
    for whom, key in ((partner, secret), (other, new_secret(api, other))):
        answer = send(api, whom, signed(key, BODY, message_id="msg_same"), BODY)
        assert answer.json() == {"received": True, "duplicate": False}


def test_a_body_may_be_as_long_as_the_limit_and_no_longer(api: httpx.Client, partner: Connected, secret: str) -> None:
    def padded(size: int) -> bytes:
        body = order(note="")
        return body.replace(b'"note": ""', b'"note": "' + b"x" * (size - len(body)) + b'"')

    assert len(padded(SIGNED_BODY_BYTES)) == SIGNED_BODY_BYTES == 262_144
    deliver(api, partner, secret, padded(SIGNED_BODY_BYTES))
    longer = padded(SIGNED_BODY_BYTES + 1)
    refused(send(api, partner, signed(secret, longer), longer), 413)


def test_a_third_secret_ends_the_oldest_at_once(api: httpx.Client, partner: Connected) -> None:
    first, second, third = (new_secret(api, partner) for _ in range(3))
    assert send(api, partner, signed(first, BODY), BODY).status_code == 400
    assert [send(api, partner, signed(each, BODY), BODY).status_code for each in (second, third)] == [200, 200]


def test_what_a_suspended_partner_sends_is_not_written_but_reviewed(
    api: httpx.Client, stack: Stack, admin: Headers, xano: services.Service, partner: Connected, secret: str
) -> None:
    assert api.post(f"{partner.path}/suspend", headers=admin).status_code == 200
    deliver(api, partner, secret, order(external_id="ext-off"))
    eventually(lambda: worked(stack, partner))
    assert rows(xano, partner) == []
    (review,) = reviews(api, admin, partner)
    assert "not active" in review["reason"]
    assert api.post(f"{partner.path}/activate", headers=admin).status_code == 200
    resolving = {"note": "active again", "replay": True}
    api.post(f"/api/reviews/{review['review_id']}/resolve", json=resolving, headers=admin).raise_for_status()
    eventually(lambda: [row["external_id"] for row in rows(xano, partner)] == ["ext-off"])


@pytest.mark.parametrize("told", ["updated_at", "timestamp"])
def test_what_happened_earlier_does_not_overwrite_what_happened_later(
    api: httpx.Client, stack: Stack, xano: services.Service, partner: Connected, secret: str, told: str
) -> None:
    def became(status: str, second: int) -> bytes:
        at = {told: f"2026-11-20T12:00:{second:02}Z"}
        data = {"external_id": "ext-1", "number": status} | (at if told == "updated_at" else {})
        return json.dumps({"type": "order.created", "data": data} | (at if told == "timestamp" else {})).encode()

    for status, second in (("placed", 1), ("shipped", 30), ("paid", 10), ("delivered", 59), ("packed", 20)):
        deliver(api, partner, secret, became(status, second))
        eventually(lambda: worked(stack, partner))
    assert [row["number"] for row in rows(xano, partner)] == ["delivered"]
    assert reviews(api, stack.admin, partner) == []


def test_events_of_one_record_that_come_at_once_end_with_the_latest(
    api: httpx.Client, stack: Stack, xano: services.Service, partner: Connected, secret: str
) -> None:
    bodies = [
        json.dumps(
            {"type": "order.created", "timestamp": f"2026-11-20T12:00:{n:02}Z", "data": {"id": "1", "number": f"N-{n}"}}
        )
        for n in range(20)
    ]
    random.Random(6).shuffle(bodies)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: deliver(api, partner, secret, body.encode()), bodies))
    eventually(lambda: worked(stack, partner))
    assert [row["number"] for row in rows(xano, partner)] == ["N-19"]


def test_a_shuffle_of_doubled_messages_ends_with_each_worked_once(
    api: httpx.Client, stack: Stack, xano: services.Service, partner: Connected, secret: str
) -> None:
    bodies = [order(external_id=f"ext-{n}", number=f"N-{n}") for n in range(SHUFFLED)]
    messages = [(signed(secret, body, message_id=f"msg_{n}"), body) for n, body in enumerate(bodies)] * 2
    random.Random(4).shuffle(messages)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: send(api, partner, *each), messages))
    assert {answer.status_code for answer in answers} == {200}
    assert Counter(answer.json()["duplicate"] for answer in answers) == {True: SHUFFLED, False: SHUFFLED}
    eventually(lambda: worked(stack, partner), seconds=60)
    written = Counter((row["external_id"], row["number"]) for row in rows(xano, partner))
    assert written == Counter((f"ext-{n}", f"N-{n}") for n in range(SHUFFLED))
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        published = "SELECT count(*), count(DISTINCT event_id) FROM events WHERE partner_id = %s"
        assert connection.execute(published, (partner.id,)).fetchone() == (SHUFFLED, SHUFFLED)
    assert reviews(api, stack.admin, partner) == []


def test_while_the_backend_is_down_events_are_taken_and_worked_when_it_is_back(
    api: httpx.Client, stack: Stack, xano: services.Service, partner: Connected, secret: str, receiver: Receiver
) -> None:
    register(api, partner.key, receiver, "order.created")
    xano.kill()
    try:
        deliver(api, partner, secret, order(external_id="ext-late"))
        eventually(lambda: inbox(stack, partner)[0]["last_error"])
        (item,) = inbox(stack, partner)
        assert (item["done_at"], item["buried_at"]) == (None, None)
        assert receiver.received() == []
    finally:
        xano.start()
    eventually(lambda: worked(stack, partner), seconds=90)
    assert [row["external_id"] for row in rows(xano, partner)] == ["ext-late"]
    assert len(receiver.wait_for(1)) == 1
    assert reviews(api, stack.admin, partner) == []
