"""The delivery log tells the truth: whatever is lost, doubled, late or cleared, each row is soon right.

A Svix of this module's own, which gives up after two attempts, and a host of its own that it tells about them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from svix.webhooks import Webhook

from devstack.process import ROOT
from tests import services
from tests.fault_proxy import Liar, answer
from tests.functions.stack import (
    Connected,
    Headers,
    Json,
    Receiver,
    Stack,
    connecting,
    publish,
    refused,
    register,
    running_stack,
)
from tests.services import eventually
from tests.shared_servers import ask


@pytest.fixture(scope="module")
def svix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    """Two attempts, a second apart."""
    with services.start_svix(tmp_path_factory.mktemp("svix"), retry="1") as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, svix: services.Service) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_stack(folder, svix, ask("partner"), PAYLOAD_RETENTION_DAYS="1") as running:
        hear_from_svix(running)
        yield running


def hear_from_svix(stack: Stack) -> None:
    """As an operator does it: the command that makes Svix send its operational webhooks here."""
    env = {**os.environ, **stack.env, "PUBLIC_URL": stack.url}
    command = [sys.executable, "-m", "scripts.operational_webhooks"]
    for _ in range(2):  # safe to repeat
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"{stack.url}/webhooks/svix" in done.stdout


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
def receiver(stack: Stack) -> Receiver:
    return Receiver(stack.partner_url)


@pytest.fixture
def operational(svix: services.Service) -> Iterator[services.Service]:
    """Svix, to be told what to do with its operational webhooks; afterwards it is as it was."""
    yield svix
    httpx.delete(f"{svix.url}/_devstack/faults").raise_for_status()


def order(svix: services.Service, operational_webhooks: str) -> None:
    faults = {"operational_webhooks": operational_webhooks}
    httpx.put(f"{svix.url}/_devstack/faults", json=faults).raise_for_status()


def delivery_of(api: httpx.Client, partner: Connected, event_id: str) -> Json:
    listed = api.get("/api/webhooks/deliveries", params={"event_id": event_id}, headers=partner.key)
    assert listed.status_code == 200, listed.text
    (only,) = listed.json()["deliveries"]
    return only


def delivery_in(api: httpx.Client, partner: Connected, event_id: str, status: str) -> Json:
    """The event's only delivery, as soon as it has this status."""

    def look() -> Json | None:
        found = delivery_of(api, partner, event_id)
        return found if found["status"] == status else None

    return eventually(look) or {}


def report(api: httpx.Client, partner: Connected, delivery: Json) -> Json:
    answer = api.get(f"/api/webhooks/deliveries/{delivery['id']}", headers=partner.key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def retry(api: httpx.Client, key: Headers, delivery: Json, **body: object) -> httpx.Response:
    return api.post(f"/api/webhooks/deliveries/{delivery['id']}/retry", json=body, headers=key)


def reviews(api: httpx.Client, admin: Headers, subject: str, **query: str | bool) -> list[Json]:
    listed = api.get("/api/reviews", params={"limit": 200, **query}, headers=admin)
    assert listed.status_code == 200, listed.text
    return [each for each in listed.json()["reviews"] if each["subject"] == subject]


def resolve(api: httpx.Client, admin: Headers, review: Json, **body: object) -> httpx.Response:
    return api.post(f"/api/reviews/{review['review_id']}/resolve", json=body, headers=admin)


# ── Retry ────────────────────────────────────────────────────────────────────────────────────────


def test_a_delivered_one_is_sent_again_only_by_force_and_stays_delivered(
    api: httpx.Client, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    before = delivery_in(api, partner, publish(api, partner.key), "delivered")
    refused(retry(api, partner.key, before), 409, "conflict")
    refused(retry(api, partner.key, before, force=False), 409, "conflict")
    assert len(receiver.received()) == 1

    sent = retry(api, partner.key, before, force=True)
    assert (sent.status_code, sent.json()["status"]) == (202, "delivered")
    assert len(receiver.wait_for(2)) == 2
    assert len(set(receiver.event_ids())) == 1
    eventually(lambda: len(report(api, partner, before)["attempts"]) == 2)
    assert delivery_of(api, partner, before["event_id"]) == before


def test_a_forced_attempt_that_fails_takes_nothing_back(
    api: httpx.Client, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    before = delivery_in(api, partner, publish(api, partner.key), "delivered")
    receiver.tell(respond={"status": 500})
    assert retry(api, partner.key, before, force=True).status_code == 202
    eventually(lambda: [each["response_code"] for each in report(api, partner, before)["attempts"]] == [204, 500])
    assert delivery_of(api, partner, before["event_id"]) == before


def test_a_failed_one_is_sent_again_and_its_attempts_go_on(
    api: httpx.Client, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 500, "times": 2})
    failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    assert retry(api, partner.key, failed).status_code == 202
    delivered = delivery_in(api, partner, failed["event_id"], "delivered")
    assert (delivered["attempt_count"], delivered["response_code"]) == (3, 204)
    assert delivered["delivered_at"] > delivered["created_at"]


def test_a_retry_wants_an_endpoint_that_is_enabled(api: httpx.Client, partner: Connected, receiver: Receiver) -> None:
    endpoint = register(api, partner.key, receiver)
    path = f"/api/webhooks/{endpoint['endpoint_id']}"
    assert api.patch(path, json={"enabled": False}, headers=partner.key).status_code == 200
    skipped = delivery_of(api, partner, publish(api, partner.key))
    refused(retry(api, partner.key, skipped), 409, "conflict")
    assert api.patch(path, json={"enabled": True}, headers=partner.key).status_code == 200
    assert retry(api, partner.key, skipped).status_code == 202
    delivery_in(api, partner, skipped["event_id"], "delivered")
    assert len(receiver.verified()) == 1


def test_a_retry_is_nobody_elses_business(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    delivery = delivery_in(api, partner, publish(api, partner.key), "delivered")
    other = connecting(api, admin)()
    refused(retry(api, other.key, delivery, force=True), 404, "not_found")
    refused(retry(api, partner.key, {"id": uuid4()}), 404, "not_found")
    refused(retry(api, {}, delivery), 401)
    refused(retry(api, partner.key, delivery, force="yes"), 422)
    assert len(receiver.received()) == 1


# ── Attempts ─────────────────────────────────────────────────────────────────────────────────────


def test_a_delivery_only_moves_forward_and_says_when_only_while_it_retries(
    api: httpx.Client, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 500, "times": 1})
    event_id, seen = publish(api, partner.key), list[Json]()

    def delivered() -> bool:
        seen.append(delivery_of(api, partner, event_id))
        return seen[-1]["status"] == "delivered"

    eventually(delivered)
    forward = ["pending", "retrying", "delivered"]
    steps = [forward.index(each["status"]) for each in seen]
    assert steps == sorted(steps)
    assert all((each["next_retry_at"] is not None) == (each["status"] == "retrying") for each in seen)
    assert [each["attempt_count"] for each in seen] == sorted(each["attempt_count"] for each in seen)
    assert all((each["delivered_at"] is not None) == (each["status"] == "delivered") for each in seen)


def test_each_attempt_has_its_code_answer_duration_and_error(
    api: httpx.Client, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 418, "times": 1, "delay_ms": 50})
    delivery = delivery_in(api, partner, publish(api, partner.key), "delivered")
    first, second = report(api, partner, delivery)["attempts"]
    assert first["response_body"] == "told to answer 418\n"
    assert (first["response_code"], first["error"]) == (418, "http_status")
    assert (second["response_code"], second["response_body"], second["error"]) == (204, "", None)
    assert 50 <= first["duration_ms"] < 20_000
    assert first["at"] < second["at"]
    assert delivery["delivered_at"] == second["at"]


def test_an_endpoint_that_nobody_answers_at_is_told_by_a_word_not_by_its_insides(
    api: httpx.Client, partner: Connected
) -> None:
    body = {"url": "http://127.0.0.1:9/hook", "events": ["order.created"]}
    assert api.post("/api/webhooks/register", json=body, headers=partner.key).status_code == 201
    failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    assert failed["response_code"] is None
    attempts = report(api, partner, failed)["attempts"]
    assert [(each["response_code"], each["response_body"], each["error"]) for each in attempts] == [
        (None, "", "unreachable")
    ] * 2


def test_of_a_long_answer_the_first_two_kilobytes_are_kept(api: httpx.Client, partner: Connected) -> None:
    with Liar() as talker:
        talker.tells(answer(500, b"no\x00" + b"x" * 50_000, "Content-Type: text/plain"))
        body = {"url": f"{talker.url}/hook", "events": ["order.created"]}
        assert api.post("/api/webhooks/register", json=body, headers=partner.key).status_code == 201
        failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    for attempt in report(api, partner, failed)["attempts"]:
        assert attempt["response_code"] == 500
        assert attempt["response_body"] == "no" + "x" * (2048 - 3)


# ── Operational webhooks lost and doubled ────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", ["normal", "drop", "twice"])
def test_however_svix_tells_of_them_all_deliveries_are_soon_right(
    api: httpx.Client, stack: Stack, partner: Connected, operational: services.Service, admin: Headers, fault: str
) -> None:
    order(operational, fault)
    good, lame, bad = (Receiver(stack.partner_url) for _ in range(3))
    endpoints = {"delivered": good, "late": lame, "failed": bad}
    ids = {what: register(api, partner.key, receiver)["endpoint_id"] for what, receiver in endpoints.items()}
    lame.tell(respond={"status": 500, "times": 4})
    bad.tell(respond={"status": 503})
    events = [publish(api, partner.key, payload={"n": n}) for n in range(4)]

    def table() -> dict[str, list[tuple[str, int, int | None]]]:
        listed = api.get("/api/webhooks/deliveries", params={"limit": 200}, headers=partner.key).json()["deliveries"]
        return {
            what: [
                (each["status"], each["attempt_count"], each["response_code"])
                for each in listed
                if each["endpoint_id"] == endpoint_id
            ]
            for what, endpoint_id in ids.items()
        }

    right = {
        "delivered": [("delivered", 1, 204)] * len(events),
        "late": [("delivered", 2, 204)] * len(events),
        "failed": [("failed", 2, 503)] * len(events),
    }
    eventually(lambda: table() == right)
    listed = api.get("/api/webhooks/deliveries", params={"status": "failed"}, headers=partner.key).json()["deliveries"]
    for failed in listed:
        assert len(reviews(api, admin, failed["id"], kind="delivery_exhausted")) == 1
    assert [len(good.received()), len(lame.received()), len(bad.received())] == [4, 8, 8]
    assert table() == right


def test_hints_that_come_doubled_and_in_reverse_change_nothing(
    api: httpx.Client, stack: Stack, partner: Connected, operational: services.Service
) -> None:
    order(operational, "drop")
    receiver = Receiver(stack.partner_url)
    endpoint = register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503, "times": 2})
    failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    delivered = delivery_in(api, partner, publish(api, partner.key), "delivered")
    before = {each["id"]: report(api, partner, each) for each in (failed, delivered)}
    kinds = ("message.attempt.failing", "message.attempt.exhausted", "message.attempt.recovered")
    hints = [
        hint(kind, partner, each["event_id"], endpoint["endpoint_id"]) for each in (failed, delivered) for kind in kinds
    ]
    for body in [*reversed(hints), *hints]:
        headers = Webhook(stack.env["SVIX_OPERATIONAL_SECRET"])
        at = datetime.now(UTC)
        signed = {
            "svix-id": "msg_hint",
            "svix-timestamp": str(int(at.timestamp())),
            "svix-signature": headers.sign("msg_hint", at, body),
        }
        answer = api.post("/webhooks/svix", content=body.encode(), headers=signed)
        assert answer.status_code == 200, answer.text
    eventually(lambda: not being_asked_for(stack, partner))
    assert {each["id"]: report(api, partner, each) for each in (failed, delivered)} == before


def hint(kind: str, partner: Connected, event_id: str, endpoint_id: str) -> str:
    data = {"appId": "app_1", "appUid": partner.id, "msgId": "msg_1", "msgEventId": event_id, "endpointId": endpoint_id}
    return json.dumps({"type": kind, "data": data})


def being_asked_for(stack: Stack, partner: Connected) -> bool:
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        asked = "SELECT 1 FROM webhook_deliveries WHERE partner_id = %s AND check_at IS NOT NULL"
        return connection.execute(asked, (partner.id,)).fetchone() is not None


# ── Retry many ───────────────────────────────────────────────────────────────────────────────────


def retry_many(api: httpx.Client, key: Headers, **body: object) -> int:
    answer = api.post("/api/webhooks/deliveries/retry", json=body, headers=key)
    assert answer.status_code == 202, answer.text
    return answer.json()["count"]


def test_many_that_failed_are_sent_once_more_and_only_ones_own(
    api: httpx.Client, stack: Stack, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    endpoint = register(api, partner.key, receiver)
    receiver.tell(respond={"status": 500})
    events = [publish(api, partner.key, payload={"n": n}) for n in range(3)]
    for event in events:
        delivery_in(api, partner, event, "failed")
    stranger = connecting(api, admin)()
    assert retry_many(api, stranger.key) == retry_many(api, stranger.key, event_id=events[0]) == 0
    foreign = api.post("/api/webhooks/deliveries/retry", json={"partner_id": partner.id}, headers=stranger.key)
    refused(foreign, 404)
    refused(api.post("/api/webhooks/deliveries/retry", json={"status": "delivered"}, headers=partner.key), 422)
    assert retry_many(api, partner.key, status="skipped") == 0
    assert retry_many(api, partner.key, until="2020-01-01T00:00:00Z") == 0
    receiver.tell(respond={"status": 204})
    assert retry_many(api, partner.key, event_id=events[0], endpoint_id=endpoint["endpoint_id"]) == 1
    delivery_in(api, partner, events[0], "delivered")
    assert retry_many(api, admin, partner_id=partner.id, status="failed") == 2
    for event in events:
        delivery_in(api, partner, event, "delivered")
    assert retry_many(api, partner.key) == 0


def test_what_has_lost_its_payload_is_left_out_of_retries_and_recoveries(
    api: httpx.Client, stack: Stack, partner: Connected, receiver: Receiver
) -> None:
    endpoint = register(api, partner.key, receiver)
    receiver.tell(respond={"status": 500})
    failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("UPDATE events SET payload = NULL WHERE event_id = %s", (failed["event_id"],))
    recovery = {"since": "2020-01-01T00:00:00Z"}
    recovered = api.post(f"/api/webhooks/{endpoint['endpoint_id']}/recover", json=recovery, headers=partner.key)
    assert (recovered.status_code, recovered.json()["count"]) == (202, 0)
    assert retry_many(api, partner.key) == 0


def test_a_delivery_whose_message_svix_has_lost_fails_with_a_review(
    api: httpx.Client, stack: Stack, admin: Headers, partner: Connected, receiver: Receiver, svix: services.Service
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 500})
    failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    httpx.delete(
        f"{svix.url}/api/v1/app/{partner.id}", headers={"Authorization": f"Bearer {svix.secret}"}
    ).raise_for_status()
    assert retry(api, partner.key, failed).status_code == 202

    def told() -> list[Json]:
        listed = api.get("/api/reviews", params={"kind": "outbox_refused", "limit": 200}, headers=admin).json()[
            "reviews"
        ]
        return [each for each in listed if failed["id"] in each["reason"]]

    assert len(eventually(told)) == 1
    assert delivery_of(api, partner, failed["event_id"])["status"] == "failed"


def test_a_replay_that_fails_again_opens_the_review_again(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, review = exhausted(api, admin, partner)
    assert resolve(api, admin, review, note="mended, I think", replay=True).status_code == 200
    eventually(lambda: reviews(api, admin, failed["id"], open=True))
    assert [each["review_id"] for each in reviews(api, admin, failed["id"])] == [review["review_id"]]
    assert delivery_of(api, partner, failed["event_id"])["status"] == "failed"


def test_an_endpoint_that_svix_gives_up_is_disabled_here_too(
    api: httpx.Client, stack: Stack, partner: Connected, receiver: Receiver, svix: services.Service
) -> None:
    endpoint = register(api, partner.key, receiver)
    path = f"/api/webhooks/{endpoint['endpoint_id']}"
    receiver.tell(respond={"status": 500})
    delivery_in(api, partner, publish(api, partner.key), "failed")
    six_days = {"advance_seconds": 6 * 86_400}
    httpx.put(f"{svix.url}/_devstack/clock", json=six_days).raise_for_status()
    publish(api, partner.key)
    eventually(lambda: not api.get(path, headers=partner.key).json()["enabled"])
    assert delivery_of(api, partner, publish(api, partner.key))["status"] == "skipped"
    logged = api.get("/api/logs", params={"event_type": "webhook_endpoint.disabled"}, headers=partner.key).json()
    assert [each["target"] for each in logged["logs"]] == [endpoint["endpoint_id"]]


# ── Reviews ──────────────────────────────────────────────────────────────────────────────────────


def exhausted(api: httpx.Client, admin: Headers, partner: Connected) -> tuple[Json, Json]:
    """A delivery that failed for good, and its review."""
    failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    (review,) = reviews(api, admin, failed["id"])
    return failed, review


def test_an_exhausted_delivery_is_reviewed_once_replayed_and_delivered(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, review = exhausted(api, admin, partner)
    assert UUID(review["review_id"])
    assert (review["kind"], review["partner_id"]) == ("delivery_exhausted", partner.id)
    assert "503" in review["reason"]
    assert [review[name] for name in ("note", "resolved_by", "resolved_at")] == [None] * 3
    assert reviews(api, admin, failed["id"], kind="delivery_exhausted", open=True) == [review]
    assert reviews(api, admin, failed["id"], kind="inbound_unroutable") == []

    receiver.tell(respond={"status": 204})
    resolved = resolve(api, admin, review, note="They fixed it ✓", replay=True)
    assert resolved.status_code == 200
    assert resolved.json().items() >= {"note": "They fixed it ✓", "reason": review["reason"]}.items()
    assert resolved.json()["resolved_by"]
    assert resolved.json()["resolved_at"] > review["created_at"]
    delivered = delivery_in(api, partner, failed["event_id"], "delivered")
    assert delivered["attempt_count"] == 3
    assert reviews(api, admin, failed["id"], open=True) == []
    assert reviews(api, admin, failed["id"]) == [resolved.json()]
    refused(resolve(api, admin, review, note="again"), 409, "conflict")


def test_resolving_without_a_replay_sends_nothing(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, review = exhausted(api, admin, partner)
    assert resolve(api, admin, review, note="not worth it").status_code == 200
    assert delivery_of(api, partner, failed["event_id"]) == failed
    assert len(receiver.received()) == 2


def test_a_failed_one_that_gets_there_after_all_needs_no_person(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, _review = exhausted(api, admin, partner)
    receiver.tell(respond={"status": 204})
    assert retry(api, partner.key, failed).status_code == 202
    delivery_in(api, partner, failed["event_id"], "delivered")
    (settled,) = reviews(api, admin, failed["id"])
    assert settled["resolved_at"]


def test_reviews_are_for_admins(api: httpx.Client, admin: Headers, partner: Connected) -> None:
    nothing = {"review_id": uuid4()}
    refused(api.get("/api/reviews", headers=partner.key), 403)
    refused(resolve(api, partner.key, nothing, note="x"), 403)
    refused(api.get("/api/reviews"), 401)
    refused(resolve(api, admin, nothing, note="x"), 404, "not_found")
    refused(resolve(api, admin, nothing), 422)
    refused(api.get("/api/reviews?kind=lost", headers=admin), 400)


# ── Payloads leave in time ───────────────────────────────────────────────────────────────────────

AGED = """
UPDATE events SET created_at = created_at - interval '25 hours' WHERE event_id = %(event)s;
UPDATE webhook_attempts SET at = at - interval '25 hours' WHERE delivery_id = %(delivery)s;
"""


def age(stack: Stack, delivery: Json) -> None:
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute(AGED.encode(), {"event": delivery["event_id"], "delivery": delivery["id"]})


def run_timer(stack: Stack, name: str) -> None:
    fired = httpx.post(f"{stack.url}/admin/functions/{name}", json={}, headers={"x-functions-key": stack.host.secret})
    assert fired.status_code == 202


def test_a_payload_whose_time_is_over_is_cleared_and_cannot_be_sent_again(
    api: httpx.Client, stack: Stack, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 418})
    old, young = (publish(api, partner.key, payload={"secret": n}) for n in range(2))
    aged, kept = (delivery_in(api, partner, event_id, "failed") for event_id in (old, young))
    age(stack, aged)
    run_timer(stack, "retention_clear")
    eventually(lambda: report(api, partner, aged)["payload"] is None)

    cleared = report(api, partner, aged)
    assert {name: cleared[name] for name in aged} == aged
    assert [(each["response_code"], each["response_body"]) for each in cleared["attempts"]] == [(418, "")] * 2
    refused(retry(api, partner.key, aged), 410, "gone")
    refused(retry(api, partner.key, aged, force=True), 410, "gone")
    assert report(api, partner, kept)["payload"] == {"secret": 1}
    assert report(api, partner, kept)["attempts"][0]["response_body"]
    assert retry(api, partner.key, kept).status_code == 202
    assert json.loads(receiver.wait_for(5)[-1]["body"]) == {"secret": 1}


def test_what_was_cleared_is_not_replayed_from_its_review(
    api: httpx.Client, stack: Stack, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, review = exhausted(api, admin, partner)
    age(stack, failed)
    run_timer(stack, "retention_clear")
    eventually(lambda: report(api, partner, failed)["payload"] is None)
    refused(resolve(api, admin, review, note="once more", replay=True), 410, "gone")
    assert reviews(api, admin, failed["id"], open=True) == [review]
    assert resolve(api, admin, review, note="too late").status_code == 200
