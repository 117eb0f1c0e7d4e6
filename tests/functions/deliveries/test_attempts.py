"""The delivery log tells the truth: whatever is lost, doubled or late, each row is soon right."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import psycopg
import pytest
from svix.webhooks import Webhook

from tests import services
from tests.fault_proxy import Liar, answer
from tests.functions.deliveries.log import delivery_in, delivery_of, report, reviews
from tests.functions.stack import Connected, Headers, Json, Receiver, Stack, publish, register
from tests.services import eventually, web


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


@pytest.fixture
def operational(svix: services.Service) -> Iterator[services.Service]:
    """Svix, to be told what to do with its operational webhooks; afterwards it is as it was."""
    yield svix
    web.delete(f"{svix.url}/_devstack/faults").raise_for_status()


def order(svix: services.Service, operational_webhooks: str) -> None:
    faults = {"operational_webhooks": operational_webhooks}
    web.put(f"{svix.url}/_devstack/faults", json=faults).raise_for_status()


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


def test_an_endpoint_that_svix_gives_up_is_disabled_here_too(
    api: httpx.Client, stack: Stack, partner: Connected, receiver: Receiver, svix: services.Service
) -> None:
    endpoint = register(api, partner.key, receiver)
    path = f"/api/webhooks/{endpoint['endpoint_id']}"
    receiver.tell(respond={"status": 500})
    delivery_in(api, partner, publish(api, partner.key), "failed")
    six_days = {"advance_seconds": 6 * 86_400}
    web.put(f"{svix.url}/_devstack/clock", json=six_days).raise_for_status()
    publish(api, partner.key)
    eventually(lambda: not api.get(path, headers=partner.key).json()["enabled"])
    assert delivery_of(api, partner, publish(api, partner.key))["status"] == "skipped"
    logged = api.get("/api/logs", params={"event_type": "webhook_endpoint.disabled"}, headers=partner.key).json()
    assert [each["target"] for each in logged["logs"]] == [endpoint["endpoint_id"]]
