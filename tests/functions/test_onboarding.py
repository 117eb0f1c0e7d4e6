"""A partner from its first day to its first events: the onboarding flow of the original design, and what follows."""

from uuid import UUID

import httpx
import pytest

from tests.functions.stack import Connect, Connected, Headers, Json, Receiver, publish, refused, register
from tests.services import eventually

PAYLOAD = {"order_id": "ord_1001", "total": 42.5, "note": "Grüße ✓"}


def deliveries(api: httpx.Client, key: Headers, event_id: str) -> list[Json]:
    return api.get("/api/webhooks/deliveries", params={"event_id": event_id}, headers=key).json()["deliveries"]


def delivery_in(api: httpx.Client, partner: Connected, event_id: str, status: str, seconds: float = 30) -> Json:
    """The event's only delivery, as soon as it has this status."""

    def look() -> Json | None:
        (only,) = deliveries(api, partner.key, event_id)
        return only if only["status"] == status else None

    return eventually(look, seconds) or {}


def test_the_onboarding_flow_of_the_original_design(api: httpx.Client, admin: Headers) -> None:
    body = {
        "name": "Test Partner",
        "type": "vendor",
        "api_endpoint": "https://api.testpartner.com",
        "auth_method": "api_key",
    }
    created = api.post("/api/partners/connect", json=body, headers=admin)
    assert created.status_code == 201
    partner = Connected(created.json())
    assert UUID(partner.id)
    assert partner.answer["status"] == "active"

    tested = api.get("/api/test", headers=partner.key)
    assert tested.status_code == 200
    assert tested.json()["ok"] is True
    assert (tested.json()["partner_id"], tested.json()["key_id"]) == (partner.id, partner.key_id)
    assert tested.json()["scopes"] == ["read:*", "write:*"]
    assert tested.json()["rate_limit"]["limit"] == 100

    webhooks = api.get(f"{partner.path}/webhooks", headers=partner.key)
    assert webhooks.status_code == 200
    assert webhooks.json()["webhooks"] == []


def test_an_event_reaches_the_receiver_signed_and_the_log_says_so(
    api: httpx.Client, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    registered = register(api, partner.key, receiver, "order.created")
    event_id = publish(api, partner.key, payload=PAYLOAD)
    (received,) = receiver.wait_for(1)
    assert received["verified"]
    assert httpx.Response(200, text=received["body"]).json() == PAYLOAD

    delivery = delivery_in(api, partner, event_id, "delivered")
    assert delivery["endpoint_id"] == registered["endpoint_id"]
    assert delivery["event_type"] == "order.created"
    assert (delivery["response_code"], delivery["attempt_count"], delivery["next_retry_at"]) == (204, 1, None)
    assert delivery["delivered_at"] >= delivery["created_at"]


def test_the_report_of_a_delivery_has_its_payload_and_attempts(
    api: httpx.Client, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    register(api, partner.key, receiver)
    delivery = delivery_in(api, partner, publish(api, partner.key, payload=PAYLOAD), "delivered")
    report = api.get(f"/api/webhooks/deliveries/{delivery['id']}", headers=partner.key).json()
    assert report["payload"] == PAYLOAD
    (attempt,) = report["attempts"]
    assert attempt.keys() == {"at", "response_code", "response_body", "duration_ms", "error"}
    assert (attempt["response_code"], attempt["error"]) == (204, None)
    assert {name: report[name] for name in delivery} == delivery


def test_a_receiver_that_fails_twice_gets_it_the_third_time(
    api: httpx.Client, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 500, "times": 2})
    event_id = publish(api, partner.key)
    meanwhile = delivery_in(api, partner, event_id, "retrying")
    assert meanwhile["next_retry_at"] > meanwhile["created_at"]
    assert meanwhile["response_code"] == 500
    assert meanwhile["delivered_at"] is None
    final = delivery_in(api, partner, event_id, "delivered")
    assert (final["attempt_count"], final["response_code"], final["next_retry_at"]) == (3, 204, None)
    report = api.get(f"/api/webhooks/deliveries/{final['id']}", headers=partner.key).json()
    assert [attempt["response_code"] for attempt in report["attempts"]] == [500, 500, 204]


def test_a_receiver_that_never_takes_it_ends_in_failed(api: httpx.Client, connect: Connect, receiver: Receiver) -> None:
    partner = connect()
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    final = delivery_in(api, partner, publish(api, partner.key), "failed", seconds=30)
    assert (final["attempt_count"], final["max_attempts"]) == (4, 4)
    assert (final["response_code"], final["next_retry_at"], final["delivered_at"]) == (503, None, None)


def test_only_endpoints_that_want_the_event_get_it(api: httpx.Client, connect: Connect, partner_url: str) -> None:
    partner = connect()
    orders, stock = Receiver(partner_url), Receiver(partner_url)
    register(api, partner.key, orders, "order.created")
    register(api, partner.key, stock, "inventory.updated", "order.created")
    event_id = publish(api, partner.key, "inventory.updated")
    stock.wait_for(1)
    assert len(deliveries(api, partner.key, event_id)) == 1
    assert orders.received() == []


def test_connecting_with_events_opens_an_endpoint_at_once(
    api: httpx.Client, connect: Connect, receiver: Receiver
) -> None:
    partner = connect(webhook_events=["order.created"], webhook_url=receiver.url)
    assert partner.answer["webhook_status"] == "registered"
    receiver.tell(secret=partner.answer["webhook_secret"])
    publish(api, partner.key)
    assert receiver.wait_for(1)[0]["verified"]
    (webhook,) = api.get(f"{partner.path}/webhooks", headers=partner.key).json()["webhooks"]
    assert webhook.items() >= {"url": receiver.url, "events": ["order.created"], "enabled": True}.items()
    assert webhook["endpoint_id"] == partner.answer["endpoint_id"]


@pytest.mark.parametrize("api_endpoint", ["{}/api", "{}", "{}/deep/er?x=1"])
def test_the_webhook_url_has_a_default_on_the_origin_of_the_api(
    connect: Connect, partner_url: str, api_endpoint: str
) -> None:
    partner = connect(webhook_events=["order.created"], api_endpoint=api_endpoint.format(partner_url))
    assert partner.answer["webhook_url"] == f"{partner_url}/webhooks/pinksync"
    assert partner.answer["webhook_secret"].startswith("whsec_")


def test_without_events_there_is_no_endpoint_and_no_secret(connect: Connect) -> None:
    answer = connect(api_endpoint="https://api.testpartner.com").answer
    assert [answer[name] for name in ("endpoint_id", "webhook_url", "webhook_secret", "webhook_status")] == [None] * 4


def test_events_without_any_url_are_refused_and_nothing_is_made(api: httpx.Client, admin: Headers) -> None:
    name = "Nowhere Ltd"
    body = {"name": name, "type": "vendor", "auth_method": "api_key", "webhook_events": ["order.created"]}
    problem = refused(api.post("/api/partners/connect", json=body, headers=admin), 422, "invalid_body")
    assert [each["pointer"] for each in problem["errors"]] == ["/webhook_url"]
    listed = api.get("/api/partners", params={"limit": 200}, headers=admin).json()["partners"]
    assert name not in {partner["name"] for partner in listed}


def test_a_partner_with_oauth_waits_to_be_connected(api: httpx.Client, connect: Connect) -> None:
    partner = connect(auth_method="oauth2")
    assert partner.answer["status"] == "pending"
    assert api.get("/api/test", headers=partner.key).status_code == 200
