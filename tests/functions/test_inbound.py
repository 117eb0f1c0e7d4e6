"""Events in: what partners sign and send, garbage and all, is refused alike or worked once.

A Xano of this module's own, to be killed, and a host of its own over it.
"""

import base64
import hashlib
import hmac
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import standardwebhooks.webhooks
from psycopg.rows import dict_row
from svix.webhooks import Webhook

from devstack.settings import EVERY_SECOND
from functions.route import SIGNED_BODY_BYTES
from shared_code.adapters import svix_signature
from tests import services
from tests.functions.stack import (
    Connected,
    Headers,
    Json,
    Receiver,
    Stack,
    connecting,
    first_admin,
    refused,
    register,
)
from tests.services import eventually
from tests.shared_servers import ask, new_database

SHUFFLED = int(os.environ.get("PINKSYNC_SHUFFLED_MESSAGES", "300"))
"""How many messages are doubled and shuffled; the plan's own number is 1,000."""


@pytest.fixture(scope="module")
def xano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    with services.start_xano(tmp_path_factory.mktemp("xano")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, xano: services.Service) -> Iterator[Stack]:
    with new_database() as database_url:
        yield from running(tmp_path_factory.mktemp("gateway"), database_url, xano)


def running(folder: Path, database_url: str, xano: services.Service) -> Iterator[Stack]:
    svix = ask("svix")
    wired = {
        "SVIX_URL": svix.url,
        "SVIX_TOKEN": svix.secret,
        "XANO_API_URL": xano.url,
        "XANO_API_KEY": xano.secret,
        "AUTH_FAILURES_PER_MINUTE": "1000000",
        "ADDRESS_RATE_LIMIT_PER_MINUTE": "1000000",
        "INBOX_SCHEDULE": EVERY_SECOND,
        "AUDIT_STORAGE_CONNECTION_STRING": "",
    }
    env = services.app_environment(database_url, ask("redis").url, **wired)
    admin = {"Authorization": f"Bearer {first_admin(env)}"}
    own = {name: value for name, value in env.items() if name != "PUBLIC_URL"}
    with services.start_host(folder, own) as host:
        yield Stack(host=host, env=env, admin=admin, partner_url=ask("partner").url)


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Headers:
    return stack.admin


@pytest.fixture
def partner(api: httpx.Client, admin: Headers) -> Connected:
    return connecting(api, admin)()


@pytest.fixture
def secret(api: httpx.Client, partner: Connected) -> str:
    return new_secret(api, partner)


@pytest.fixture
def receiver(stack: Stack) -> Receiver:
    return Receiver(stack.partner_url)


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
    return httpx.get(f"{xano.url}/orders", headers=headers).raise_for_status().json()


def inbox(stack: Stack, partner: Connected) -> list[dict[str, Any]]:
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM inbox WHERE partner_id = %s ORDER BY id", (partner.id,)).fetchall()


def worked(stack: Stack, partner: Connected) -> bool:
    return all(item["done_at"] or item["buried_at"] for item in inbox(stack, partner))


def reviews(api: httpx.Client, admin: Headers, partner: Connected) -> list[Json]:
    listed = api.get("/api/reviews", params={"limit": 200, "kind": "inbound_unroutable"}, headers=admin)
    assert listed.status_code == 200, listed.text
    return [each for each in listed.json()["reviews"] if each["partner_id"] == partner.id]


# ── Garbage ──────────────────────────────────────────────────────────────────────────────────────

BODY = order(external_id="garbage")
LATER = 310


def with_(**changes: str) -> Callable[[str], Headers]:
    """All right but for these."""
    return lambda secret: signed(secret, BODY) | {f"svix-{name}": value for name, value in changes.items()}


def signature_as(turned: Callable[[str], str]) -> Callable[[str], Headers]:
    def make(secret: str) -> Headers:
        headers = signed(secret, BODY)
        return headers | {"svix-signature": turned(headers["svix-signature"])}

    return make


def without(name: str) -> Callable[[str], Headers]:
    return lambda secret: {key: value for key, value in signed(secret, BODY).items() if key != f"svix-{name}"}


def timestamp_as(text: str) -> Callable[[str], Headers]:
    """Signed with it, too."""
    return lambda secret: {
        "svix-id": "msg_1",
        "svix-timestamp": text,
        "svix-signature": signature(secret, "msg_1", text, BODY),
    }


def mixed(secret: str) -> Headers:
    """Half of it under one name, half under the other."""
    svix, standard = (
        signed(secret, BODY, message_id="msg_1"),
        signed(secret, BODY, message_id="msg_1", prefix="webhook"),
    )
    return {name: (svix | standard)[name] for name in ("svix-id", "webhook-timestamp", "webhook-signature")}


NOW = str(int(time.time()))
GARBAGE: dict[str, Callable[[str], Headers]] = {
    "no headers": lambda secret: {},
    "no id": without("id"),
    "no timestamp": without("timestamp"),
    "no signature": without("signature"),
    "stale": lambda secret: signed(secret, BODY, at=int(time.time()) - LATER),
    "from the future": lambda secret: signed(secret, BODY, at=int(time.time()) + LATER),
    "a timestamp of 1970": timestamp_as("0"),
    "a timestamp in words": timestamp_as("now"),
    "a timestamp with a point": timestamp_as(f"{NOW}.0"),
    "a timestamp with an underscore": timestamp_as(f"{NOW[:5]}_{NOW[5:]}"),
    "a timestamp with a sign": timestamp_as(f"+{NOW}"),
    "a timestamp in milliseconds": timestamp_as(f"{NOW}000"),
    "a timestamp beyond every integer": timestamp_as("9" * 400),
    "an empty timestamp": timestamp_as(""),
    "no comma": signature_as(lambda right: right.replace(",", "")),
    "two commas": signature_as(lambda right: right.replace(",", ",,")),
    "a comma alone": with_(signature=","),
    "an empty signature": with_(signature=""),
    "bad base64": with_(signature="v1,!!!!"),
    "base64 with bad padding": signature_as(lambda right: right.rstrip("=")),
    "another version": signature_as(lambda right: right.replace("v1,", "v2,")),
    "an asymmetric one alone": with_(signature=f"v1a,{'A' * 86}=="),
    "no version": signature_as(lambda right: right.removeprefix("v1,")),
    "two spaces": signature_as(lambda right: f"v1,{'A' * 43}=  {right}"),
    "a signature that is not ASCII": with_(signature="v1,Grüße"),
    "a hundred signatures": signature_as(lambda right: " ".join([right] * 100)),
    "another message's id": with_(id="msg_other"),
    "an id with a dot": lambda secret: signed(secret, BODY, message_id="msg.1"),
    "an id that is too long": lambda secret: signed(secret, BODY, message_id="m" * 65),
    "an id with a space": lambda secret: signed(secret, BODY, message_id="msg 1"),
    "half svix, half standard": mixed,
    "both sets at once": lambda secret: signed(secret, BODY) | signed(secret, BODY, prefix="webhook"),
    "a right set and half another": lambda secret: signed(secret, BODY) | {"webhook-id": "msg_1"},
    "another secret": lambda secret: signed("whsec_" + base64.b64encode(b"x" * 32).decode(), BODY),
    "an empty secret": lambda secret: signed("whsec_", BODY),
    "another body": lambda secret: signed(secret, BODY + b" "),
}


def raw(headers: Headers) -> dict[bytes, bytes]:
    """httpx would refuse to send what is not ASCII."""
    return {name.encode(): value.encode() for name, value in headers.items()}


def shape(problem: Json) -> Json:
    """All that the refusals must have in common: everything but the request's own id."""
    return {name: value for name, value in problem.items() if name not in ("request_id", "instance")}


@pytest.fixture(scope="module")
def the_refusal(api: httpx.Client) -> Json:
    """What nobody's partner is answered."""
    problem = refused(api.post(f"/webhooks/partner/{uuid4()}", content=b"{}"), 400, "invalid_signature")
    assert (problem["title"], problem["error"]) == ("Invalid signature", "Invalid signature")
    return shape(problem)


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_like_all_garbage_and_nothing_is_kept(
    api: httpx.Client, stack: Stack, partner: Connected, secret: str, the_refusal: Json, name: str
) -> None:
    headers = raw(GARBAGE[name](secret))
    answer = api.post(f"/webhooks/partner/{partner.id}", headers=headers, content=BODY)
    assert shape(refused(answer, 400, "invalid_signature")) == the_refusal
    assert inbox(stack, partner) == []


@pytest.mark.parametrize("body", [b"\xff\xfe not UTF-8", b'{"type": "order.created", "data": {"n": "\xe9"}}'])
def test_a_body_that_is_not_utf_8_is_refused_even_if_it_is_signed(
    api: httpx.Client, partner: Connected, secret: str, the_refusal: Json, body: bytes
) -> None:
    assert shape(refused(send(api, partner, signed(secret, body), body), 400)) == the_refusal


def test_what_is_for_nobody_is_refused_like_garbage(
    api: httpx.Client, admin: Headers, partner: Connected, secret: str, the_refusal: Json
) -> None:
    """No partner, no id, no secret yet, another partner's secret: nobody learns which."""
    without_secret, other = connecting(api, admin)(), connecting(api, admin)()
    new_secret(api, other)
    headers = signed(secret, BODY)
    for whom in (uuid4(), "nobody", "%00", "x" * 500, without_secret.id, other.id):
        answer = api.post(f"/webhooks/partner/{whom}", headers=headers, content=BODY)
        assert shape(refused(answer, 400, "invalid_signature")) == the_refusal, whom
    assert send(api, partner, headers, BODY).status_code == 200


def test_a_partner_that_was_removed_sends_us_nothing_any_more(
    api: httpx.Client, admin: Headers, partner: Connected, secret: str, the_refusal: Json
) -> None:
    assert api.delete(partner.path, headers=admin).status_code == 204
    assert shape(refused(send(api, partner, signed(secret, BODY), BODY), 400)) == the_refusal


def test_a_body_that_is_too_long_is_refused_before_it_is_read(
    api: httpx.Client, partner: Connected, secret: str
) -> None:
    body = order(note="x" * 1_100_000)
    refused(send(api, partner, signed(secret, body), body), 413)


# ── Genuine ──────────────────────────────────────────────────────────────────────────────────────

VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
]
"""Svix's documentation and Standard Webhooks' own tests."""


@pytest.mark.parametrize("prefix", ["svix", "webhook"])
@pytest.mark.parametrize(("secret", "message_id", "timestamp", "body", "official"), VECTORS)
def test_the_official_vector_verifies(
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    secret: str,
    message_id: str,
    timestamp: int,
    body: bytes,
    official: str,
) -> None:
    then = datetime.fromtimestamp(timestamp, UTC)

    class Then(datetime):
        """The library asks for the time itself."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return then.astimezone(tz)

    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Then)
    headers = {f"{prefix}-id": message_id, f"{prefix}-timestamp": str(timestamp), f"{prefix}-signature": official}
    assert signature(secret, message_id, timestamp, body) == official
    assert svix_signature.signed(secret, headers, body, then) == message_id
    assert svix_signature.signed(secret, headers, body + b" ", then) is None
    assert svix_signature.signed(secret, headers, body, then + timedelta(seconds=301)) is None


@pytest.mark.parametrize("library", [Webhook, standardwebhooks.Webhook])
@pytest.mark.parametrize("prefix", ["svix", "webhook"])
def test_what_an_official_library_signs_is_taken_under_either_set_of_names(
    api: httpx.Client, partner: Connected, secret: str, library: type[Webhook], prefix: str
) -> None:
    now, body = datetime.now(UTC), order(note="Grüße ✓")
    right = library(secret).sign("msg_lib", now, body.decode())
    headers = {
        f"{prefix}-id": "msg_lib",
        f"{prefix}-timestamp": str(int(now.timestamp())),
        f"{prefix}-signature": f"v1,{'A' * 43}= {right}",
    }
    assert send(api, partner, headers, body).json() == {"received": True, "duplicate": False}


@pytest.mark.parametrize("away", [-280, 280])
def test_a_clock_that_is_almost_five_minutes_off_is_near_enough(
    api: httpx.Client, partner: Connected, secret: str, away: int
) -> None:
    assert send(api, partner, signed(secret, BODY, at=int(time.time()) + away), BODY).status_code == 200


def test_during_a_rotation_both_secrets_are_taken_and_after_it_the_new_one(
    api: httpx.Client, partner: Connected, secret: str, the_refusal: Json
) -> None:
    new = new_secret(api, partner, grace_seconds=3600)
    assert new != secret
    deliver(api, partner, secret, BODY)
    deliver(api, partner, new, BODY)
    newest = new_secret(api, partner, grace_seconds=0)
    deliver(api, partner, newest, BODY)
    for old in (secret, new):
        assert shape(refused(send(api, partner, signed(old, BODY), BODY), 400)) == the_refusal


def test_a_secret_is_made_for_its_partner_alone(api: httpx.Client, admin: Headers, partner: Connected) -> None:
    other = connecting(api, admin)()
    refused(api.post(f"{partner.path}/inbound-secret", json={}, headers=other.key), 404, "not_found")
    refused(api.post(f"{partner.path}/inbound-secret", json={}), 401)
    refused(api.post(f"{partner.path}/inbound-secret", json={"grace_seconds": -1}, headers=partner.key), 422)
    refused(api.post(f"/api/partners/{uuid4()}/inbound-secret", json={}, headers=admin), 404)
    made = api.post(f"{partner.path}/inbound-secret", json={}, headers=admin)
    assert made.json()["secret"] not in api.get("/api/logs", headers=partner.key).text


# ── Worked once ──────────────────────────────────────────────────────────────────────────────────


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


# ── Unroutable ───────────────────────────────────────────────────────────────────────────────────

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


# ── Svix's own webhooks ──────────────────────────────────────────────────────────────────────────


def tell(api: httpx.Client, headers: Headers, body: bytes) -> httpx.Response:
    return api.post("/webhooks/svix", headers=headers, content=body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "endpoint.created", "data": {"appUid": null}}',
        b'{"type": "message.attempt.log", "data": [1]}',
        b'{"type": "of.the.future", "data": {"appUid": "00000000-0000-0000-0000-000000000000"}}',
        b'{"type": 5, "data": 7}',
        b"not JSON",
        b"[]",
        b"",
        json.dumps({"type": "message.attempt.failing", "data": {"appUid": str(uuid4()), "msgEventId": "e"}}).encode(),
        json.dumps({"type": "message.attempt.exhausted", "data": {"appUid": str(uuid4()), "msgEventId": 5}}).encode(),
        json.dumps({"type": "message.attempt.failing", "data": {"appUid": str(uuid4()), "msgEventId": "\0"}}).encode(),
        json.dumps({"type": "endpoint.disabled", "data": {"appUid": str(uuid4()), "endpointId": "ep_1"}}).encode(),
        json.dumps({"type": "endpoint.disabled", "data": {"appUid": str(uuid4()), "endpointId": "\0"}}).encode(),
    ],
)
def test_what_svix_says_of_nobody_or_of_nothing_known_is_taken_and_ignored(
    api: httpx.Client, stack: Stack, body: bytes
) -> None:
    answer = tell(api, signed(stack.env["SVIX_OPERATIONAL_SECRET"], body), body)
    assert (answer.status_code, answer.json()["received"]) == (200, True)


@pytest.mark.parametrize("name", GARBAGE)
def test_what_svix_did_not_sign_is_refused_like_all_garbage(
    api: httpx.Client, stack: Stack, the_refusal: Json, name: str
) -> None:
    headers = raw(GARBAGE[name](stack.env["SVIX_OPERATIONAL_SECRET"]))
    answer = api.post("/webhooks/svix", headers=headers, content=BODY)
    assert shape(refused(answer, 400, "invalid_signature")) == the_refusal


def test_a_partners_secret_does_not_make_it_svix(
    api: httpx.Client, secret: str, stack: Stack, partner: Connected, the_refusal: Json
) -> None:
    assert shape(refused(tell(api, signed(secret, BODY), BODY), 400)) == the_refusal
    svix = signed(stack.env["SVIX_OPERATIONAL_SECRET"], BODY)
    assert shape(refused(send(api, partner, svix, BODY), 400)) == the_refusal
