"""Webhook endpoints and the delivery log: registered, read, and hidden from everybody else."""

import re
from uuid import UUID, uuid4

import httpx
import pytest

from tests.functions.stack import Connect, Connected, Headers, Json, Receiver, pointers, publish, refused, register
from tests.services import eventually


def test_registering_answers_the_endpoint_and_its_secret_once(
    api: httpx.Client, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    body = {"url": receiver.url, "events": ["order.created", "inventory.updated"], "description": "Lager ✓"}
    made = api.post("/api/webhooks/register", json=body, headers=partner.key)
    assert made.status_code == 201
    endpoint = made.json()
    assert endpoint.items() >= {**body, "enabled": True}.items()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{32}", endpoint["secret"])
    shown = api.get(f"/api/webhooks/{endpoint['endpoint_id']}", headers=partner.key).json()
    assert shown == {name: value for name, value in endpoint.items() if name != "secret"}


def test_two_endpoints_have_two_secrets(api: httpx.Client, partner: Connected, receiver: Receiver) -> None:
    first, second = (register(api, partner.key, receiver) for _ in range(2))
    assert first["secret"] != second["secret"]
    assert first["endpoint_id"] != second["endpoint_id"]


def test_an_event_type_named_twice_counts_once(api: httpx.Client, connect: Connect, receiver: Receiver) -> None:
    partner = connect()
    assert register(api, partner.key, receiver, "order.created", "order.created")["events"] == ["order.created"]
    publish(api, partner.key)
    receiver.wait_for(1)
    assert api.get("/api/webhooks/deliveries", headers=partner.key).json()["total"] == 1


def test_an_admin_registers_for_the_partner_it_names(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    body = {"url": receiver.url, "events": ["order.created"]}
    assert pointers(refused(api.post("/api/webhooks/register", json=body, headers=admin), 422)) == ["/partner_id"]
    made = api.post("/api/webhooks/register", json=body | {"partner_id": partner.id}, headers=admin).json()
    listed = api.get(f"{partner.path}/webhooks", headers=partner.key).json()["webhooks"]
    assert made["endpoint_id"] in {each["endpoint_id"] for each in listed}
    unknown = body | {"partner_id": str(uuid4())}
    refused(api.post("/api/webhooks/register", json=unknown, headers=admin), 404)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": ""}, "/url"),
        ({"url": "https://shop.example/" + "x" * 2048}, "/url"),
        ({"url": "http://shop.example/hook"}, "/url"),
        ({"url": "https://user:pw@shop.example/hook"}, "/url"),
        ({"url": "https://2130706433/"}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["order.created", "no.such.type"]}, "/events/1"),
        ({"events": ["x" * 129]}, "/events/0"),
        ({"description": "x" * 1001}, "/description"),
        ({"secret": "whsec_mine"}, "/secret"),
        ({"enabled": False}, "/enabled"),
    ],
)
def test_a_wrong_endpoint_is_refused_where_it_is_wrong(
    api: httpx.Client, partner: Connected, change: Json, pointer: str
) -> None:
    body = {"url": "https://shop.example/hook", "events": ["order.created"]} | change
    problem = refused(api.post("/api/webhooks/register", json=body, headers=partner.key), 422)
    assert pointers(problem) == [pointer]


def test_endpoints_and_deliveries_are_nobody_elses_business(
    api: httpx.Client, connect: Connect, other: Connected, receiver: Receiver
) -> None:
    partner = connect()
    endpoint = register(api, partner.key, receiver)
    publish(api, partner.key)
    (delivery,) = api.get("/api/webhooks/deliveries", headers=partner.key).json()["deliveries"]
    refused(api.get(f"/api/webhooks/{endpoint['endpoint_id']}", headers=other.key), 404)
    refused(api.get(f"/api/webhooks/deliveries/{delivery['id']}", headers=other.key), 404)
    refused(api.get("/api/webhooks/deliveries", params={"partner_id": partner.id}, headers=other.key), 404)
    body = {"url": receiver.url, "events": ["order.created"], "partner_id": partner.id}
    refused(api.post("/api/webhooks/register", json=body, headers=other.key), 404)
    assert api.get("/api/webhooks/deliveries", headers=other.key).json()["deliveries"] == []


def test_an_admin_sees_every_delivery_and_one_partners(
    api: httpx.Client, admin: Headers, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    register(api, partner.key, receiver)
    event_id = publish(api, partner.key)
    for query in ({"event_id": event_id}, {"partner_id": partner.id}):
        (delivery,) = api.get("/api/webhooks/deliveries", params=query, headers=admin).json()["deliveries"]
        assert (delivery["partner_id"], delivery["event_id"]) == (partner.id, event_id)


def test_the_log_is_filtered_by_everything_it_shows(api: httpx.Client, connect: Connect, receiver: Receiver) -> None:
    partner = connect()
    endpoint = register(api, partner.key, receiver, "order.created", "inventory.updated")
    order, stock = publish(api, partner.key), publish(api, partner.key, "inventory.updated")

    def found(**query: str) -> list[str]:
        listed = api.get("/api/webhooks/deliveries", params=query, headers=partner.key)
        assert listed.status_code == 200, listed.text
        return [each["event_id"] for each in listed.json()["deliveries"]]

    eventually(lambda: found(status="delivered") == [stock, order])
    newest = api.get("/api/webhooks/deliveries", headers=partner.key).json()["deliveries"][0]["created_at"]
    assert found() == found(endpoint_id=endpoint["endpoint_id"]) == [stock, order]
    assert found(event_type="order.created") == found(event_id=order) == found(until=newest) == [order]
    assert found(since=newest) == [stock]
    assert found(status="failed") == found(event_id="evt_none") == found(endpoint_id="ep_none") == []


@pytest.mark.parametrize(
    "query", ["status=lost", "since=yesterday", "since=2026-01-01T00:00:00", "limit=0", "limit=201", "offset=-1"]
)
def test_a_wrong_filter_is_refused(api: httpx.Client, partner: Connected, query: str) -> None:
    problem = refused(api.get(f"/api/webhooks/deliveries?{query}", headers=partner.key), 400, "invalid_parameter")
    assert query.partition("=")[0] in problem["detail"]


@pytest.mark.parametrize("wrong", ["deliveries/x", f"deliveries/{UUID(int=7)}", "ep_unknown", "..", "%F0%9F%92%A9"])
def test_what_is_not_there_is_not_found(api: httpx.Client, admin: Headers, wrong: str) -> None:
    refused(api.get(f"/api/webhooks/{wrong}", headers=admin), 404, "not_found")


def test_a_secret_is_never_shown_again(api: httpx.Client, connect: Connect, receiver: Receiver) -> None:
    partner = connect(webhook_events=["order.created"], webhook_url=receiver.url, credentials={"api_key": "pw-9f"})
    endpoint = register(api, partner.key, receiver)
    secrets = (partner.api_key, partner.answer["webhook_secret"], endpoint["secret"], "pw-9f")
    paths = [
        *(partner.path, f"{partner.path}/webhooks", "/api/keys", "/api/logs", "/api/test"),
        *(f"/api/webhooks/{endpoint['endpoint_id']}", "/api/webhooks/deliveries"),
    ]
    for path in paths:
        answer = api.get(path, headers=partner.key)
        assert answer.status_code == 200
        assert [secret for secret in secrets if secret in answer.text] == [], path
