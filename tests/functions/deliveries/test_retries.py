"""A delivery is sent again by hand: alone or with many, and only where that can be."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import psycopg

from tests import services
from tests.functions.deliveries.log import delivery_in, delivery_of, report, retry
from tests.functions.stack import Connected, Headers, Json, Receiver, Stack, connecting, publish, refused, register
from tests.services import eventually, web


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
    assert delivery_of(api, partner, before["event_id"]) == before | {"attempt_count": 2}


def test_a_forced_attempt_that_fails_takes_nothing_back(
    api: httpx.Client, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    before = delivery_in(api, partner, publish(api, partner.key), "delivered")
    receiver.tell(respond={"status": 500})
    assert retry(api, partner.key, before, force=True).status_code == 202
    eventually(lambda: [each["response_code"] for each in report(api, partner, before)["attempts"]] == [204, 500])
    assert delivery_of(api, partner, before["event_id"]) == before | {"attempt_count": 2}


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


def test_five_who_retry_at_once_send_it_once(api: httpx.Client, partner: Connected, receiver: Receiver) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 500, "times": 2})
    failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    with ThreadPoolExecutor(5) as pool:
        answers = set(pool.map(lambda _: retry(api, partner.key, failed).status_code, range(5)))
    assert answers in ({202}, {202, 409})  # who came late found it delivered
    delivery_in(api, partner, failed["event_id"], "delivered")
    assert len(receiver.received()) == 3


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
    web.delete(
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
