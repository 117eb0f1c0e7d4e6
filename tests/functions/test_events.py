"""Events published once, to whom they are meant for, and only if they are what their type says."""

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.functions.stack import (
    Connect,
    Connected,
    Headers,
    Json,
    Receiver,
    pointers,
    publish,
    refused,
    register,
    steadily,
)

SCHEMA: Json = {
    "type": "object",
    "required": ["sku"],
    "properties": {"sku": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
}


@pytest.fixture(scope="module")
def event_type(api: httpx.Client, admin: Headers) -> str:
    """A type with a schema, this module's own."""
    name = f"test.{uuid4().hex}"
    body = {"description": "For tests.", "schema": SCHEMA, "example": {"sku": "A"}}
    assert api.put(f"/api/event-types/{name}", json=body, headers=admin).status_code == 200
    return name


def publishing(api: httpx.Client, key: Headers, **body: object) -> httpx.Response:
    return api.post("/api/events", json={"event_type": "order.created", "payload": {}} | body, headers=key)


# ── Once ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_event_id_twice_is_one_event_and_one_delivery(
    api: httpx.Client, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    register(api, partner.key, receiver)
    event_id = f"mine-{uuid4()}"
    for payload in ({"n": 1}, {"n": 1}, {"n": 2}):
        assert publish(api, partner.key, event_id=event_id, payload=payload) == event_id
    receiver.wait_for(1)
    publish(api, partner.key, payload={"n": 3})
    bodies = [json.loads(each["body"]) for each in receiver.wait_for(2)]
    assert bodies == [{"n": 1}, {"n": 3}]
    assert api.get("/api/webhooks/deliveries", headers=partner.key).json()["total"] == 2


def test_the_same_event_id_at_the_same_moment_is_one_delivery(
    api: httpx.Client, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    register(api, partner.key, receiver)
    with ThreadPoolExecutor(10) as pool:
        answers = steadily(lambda: list(pool.map(lambda _: publishing(api, partner.key, event_id="twin"), range(10))))
    assert {answer.status_code for answer in answers} == {202}
    publish(api, partner.key)
    assert len(receiver.wait_for(2)) == 2
    assert api.get("/api/webhooks/deliveries", headers=partner.key).json()["total"] == 2


def test_an_event_id_belongs_to_its_partner(api: httpx.Client, connect: Connect, partner_url: str) -> None:
    both = [(connect(), Receiver(partner_url)) for _ in range(2)]
    for partner, receiver in both:
        register(api, partner.key, receiver)
        publish(api, partner.key, event_id="same-for-both")
    assert [receiver.wait_for(1)[0]["verified"] for _, receiver in both] == [True, True]


def test_every_payload_arrives_as_it_was_published(api: httpx.Client, connect: Connect, receiver: Receiver) -> None:
    partner = connect()
    register(api, partner.key, receiver)
    payload = {"é": "Grüße ✓ 💩", "n": [0, -1, 2**53, 1.5, 1e-9, True, None], "deep": {"a": {"b": [[]]}}, "": ""}
    publish(api, partner.key, payload=payload)
    (received,) = receiver.wait_for(1)
    assert received["verified"]
    assert json.loads(received["body"]) == payload


# ── To whom ──────────────────────────────────────────────────────────────────────────────────────


def test_the_house_publishes_to_every_active_partner(
    api: httpx.Client, admin: Headers, connect: Connect, partner_url: str
) -> None:
    first, second, suspended = connect(), connect(), connect()
    receivers = [Receiver(partner_url) for _ in range(3)]
    for partner, receiver in zip((first, second, suspended), receivers, strict=True):
        register(api, partner.key, receiver, "inventory.updated")
    api.post(f"{suspended.path}/suspend", headers=admin)
    event_id = publish(api, admin, "inventory.updated", partner_id="*")
    assert [receiver.wait_for(1)[0]["verified"] for receiver in receivers[:2]] == [True, True]
    for partner, deliveries in ((first, 1), (second, 1), (suspended, 0)):
        query = {"partner_id": partner.id, "event_id": event_id}
        assert api.get("/api/webhooks/deliveries", params=query, headers=admin).json()["total"] == deliveries
    assert receivers[2].received() == []


def test_a_partner_publishes_for_itself_alone(api: httpx.Client, partner: Connected, other: Connected) -> None:
    assert publishing(api, partner.key, partner_id=partner.id).status_code == 202
    refused(publishing(api, partner.key, partner_id=other.id), 404)
    refused(publishing(api, partner.key, partner_id="*"), 404)


def test_an_admin_must_say_for_whom(api: httpx.Client, admin: Headers, partner: Connected) -> None:
    assert pointers(refused(publishing(api, admin), 422)) == ["/partner_id"]
    assert publishing(api, admin, partner_id=partner.id).status_code == 202
    refused(publishing(api, admin, partner_id=str(uuid4())), 404)


def test_a_suspended_partner_gets_no_events(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect()
    api.post(f"{partner.path}/suspend", headers=admin)
    refused(publishing(api, admin, partner_id=partner.id), 409)


# ── What ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"event_type": "no.such.type"}, "unknown_event_type", "/event_type"),
        ({"event_type": ""}, "invalid_body", "/event_type"),
        ({"payload": []}, "invalid_body", "/payload"),
        ({"payload": None}, "invalid_body", "/payload"),
        ({"event_id": ""}, "invalid_body", "/event_id"),
        ({"event_id": "x" * 129}, "invalid_body", "/event_id"),
        ({"event_id": "a/b"}, "invalid_body", "/event_id"),
        ({"event_id": ".."}, "invalid_body", "/event_id"),
        ({"event_id": "msg_1"}, "invalid_body", "/event_id"),
        ({"event_id": "é"}, "invalid_body", "/event_id"),
        ({"event_id": 7}, "invalid_body", "/event_id"),
        ({"more": 1}, "invalid_body", "/more"),
    ],
)
def test_a_wrong_event_is_refused_where_it_is_wrong(
    api: httpx.Client, partner: Connected, change: Json, code: str, pointer: str
) -> None:
    problem = refused(publishing(api, partner.key, **change), 422, code)
    assert pointers(problem) == [pointer]


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [({}, "/payload"), ({"sku": 1}, "/payload/sku"), ({"sku": "A", "lines": [1, "x"]}, "/payload/lines/1")],
)
def test_a_payload_off_its_schema_is_refused_where_it_is_off(
    api: httpx.Client, partner: Connected, event_type: str, payload: Json, pointer: str
) -> None:
    problem = refused(publishing(api, partner.key, event_type=event_type, payload=payload), 422, "invalid_body")
    assert pointers(problem) == [pointer]
    assert publishing(api, partner.key, event_type=event_type, payload={"sku": "A"}).status_code == 202


# ── Event types ──────────────────────────────────────────────────────────────────────────────────


def test_a_new_installation_knows_two_event_types(api: httpx.Client, partner: Connected) -> None:
    listed = api.get("/api/event-types?limit=200", headers=partner.key).json()
    assert {"order.created", "inventory.updated"} <= {each["name"] for each in listed["event_types"]}
    assert listed["total"] == len(listed["event_types"])


def test_an_event_type_is_kept_whole_and_can_be_changed(api: httpx.Client, admin: Headers, event_type: str) -> None:
    listed = api.get("/api/event-types?limit=200", headers=admin).json()["event_types"]
    kept = next(each for each in listed if each["name"] == event_type)
    assert (kept["schema"], kept["example"], kept["deprecated"]) == (SCHEMA, {"sku": "A"}, False)
    changed = api.put(
        f"/api/event-types/{event_type}", json={"schema": SCHEMA, "deprecated": True}, headers=admin
    ).json()
    assert (changed["deprecated"], changed["description"], changed["example"]) == (True, "", None)
    assert changed["created_at"] == kept["created_at"]


def test_an_event_type_may_say_its_name_and_no_other(api: httpx.Client, admin: Headers) -> None:
    name = f"test.{uuid4().hex}"
    assert api.put(f"/api/event-types/{name}", json={"name": name}, headers=admin).json()["name"] == name
    problem = refused(api.put(f"/api/event-types/{name}", json={"name": "order.created"}, headers=admin), 422)
    assert pointers(problem) == ["/name"]


@pytest.mark.parametrize("name", ["a..b", ".a", "a.", "a b", "é", "x" * 129, "a%2fb"])
def test_a_name_that_cannot_be_one_is_refused(api: httpx.Client, admin: Headers, name: str) -> None:
    refused(api.put(f"/api/event-types/{name}", json={}, headers=admin), 400, "invalid_parameter")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"schema": {"type": "no such type"}}, "/schema/type"),
        ({"schema": {"$ref": "https://evil.example/schema.json"}}, "/schema"),
        ({"schema": SCHEMA, "example": {"sku": 5}}, "/example/sku"),
        ({"schema": []}, "/schema"),
        ({"description": "x" * 1001}, "/description"),
    ],
)
def test_a_wrong_event_type_is_refused_where_it_is_wrong(
    api: httpx.Client, admin: Headers, body: Json, pointer: str
) -> None:
    problem = refused(api.put(f"/api/event-types/test.{uuid4().hex}", json=body, headers=admin), 422)
    assert pointers(problem)[0] == pointer


def test_an_event_of_a_new_type_arrives(
    api: httpx.Client, connect: Connect, receiver: Receiver, event_type: str
) -> None:
    partner = connect()
    register(api, partner.key, receiver, event_type)
    publish(api, partner.key, event_type, payload={"sku": "B"})
    assert receiver.wait_for(1)[0]["verified"]
