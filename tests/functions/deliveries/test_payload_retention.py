"""Payloads leave in time, and what has left cannot be sent again."""

import json

import httpx
import psycopg

from tests.functions.deliveries.log import delivery_in, exhausted, report, resolve, retry, reviews
from tests.functions.stack import Connected, Headers, Json, Receiver, Stack, publish, refused, register
from tests.services import eventually, web

AGED = """
UPDATE events SET created_at = created_at - interval '25 hours' WHERE event_id = %(event)s;
UPDATE webhook_attempts SET at = at - interval '25 hours' WHERE delivery_id = %(delivery)s;
"""


def age(stack: Stack, delivery: Json) -> None:
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute(AGED.encode(), {"event": delivery["event_id"], "delivery": delivery["id"]})


def run_timer(stack: Stack, name: str) -> None:
    fired = web.post(f"{stack.url}/admin/functions/{name}", json={}, headers={"x-functions-key": stack.host.secret})
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
