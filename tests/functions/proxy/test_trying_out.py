"""POST /api/partners/{id}/test: what is tried, and what is told."""

from uuid import uuid4

import httpx

from tests.functions.stack import Connect, Connected, Headers, Json, Receiver, refused
from tests.services import free_port
from tests.shop import Shop


def try_out(api: httpx.Client, key: Headers, partner: Connected) -> Json:
    answered = api.post(f"{partner.path}/test", headers=key)
    assert answered.status_code == 200, answered.text
    for check in answered.json()["checks"]:
        assert check.keys() == {"name", "ok", "latency_ms", "detail"}
        assert check["latency_ms"] >= 0
    return answered.json()


def test_trying_a_partner_out_reaches_its_api_and_its_webhook_endpoints(
    api: httpx.Client, partner: Connected, receiver: Receiver
):
    body = {"url": receiver.url, "events": ["order.created"]}
    made = api.post("/api/webhooks/register", json=body, headers=partner.key).json()
    found = try_out(api, partner.key, partner)
    assert found["ok"] is True
    assert [check["name"] for check in found["checks"]] == ["api", f"webhook {made['endpoint_id']}"]
    assert receiver.received() == []


def test_trying_a_partner_out_says_what_is_wrong(api: httpx.Client, admin: Headers, connect: Connect, shop: Shop):
    nobody = f"http://127.0.0.1:{free_port()}"
    cases = {
        "credentials": connect(api_endpoint=f"{shop.endpoint}/orders", credentials={"api_key": "wrong"}),
        "reached": connect(api_endpoint=nobody, credentials=shop.credentials),
        "api_endpoint": connect(),
        "OAuth": connect(api_endpoint=shop.endpoint, auth_method="oauth2"),
    }
    for word, partner in cases.items():
        found = try_out(api, admin, partner)
        assert (found["ok"], found["checks"][0]["ok"]) == (False, False)
        assert word in found["checks"][0]["detail"]
    shop.misbehaves(status=500)
    failing = try_out(api, admin, connect(api_endpoint=f"{shop.endpoint}/orders", credentials=shop.credentials))
    assert (failing["ok"], "500" in failing["checks"][0]["detail"]) == (False, True)


def test_a_partner_is_told_nothing_of_another(api: httpx.Client, connect: Connect, partner: Connected):
    refused(api.post(f"{partner.path}/test", headers=connect().key), 404)
    refused(api.post(f"/api/partners/{uuid4()}/test", headers=partner.key), 404)


def test_trying_out_has_a_limit_of_its_own(api: httpx.Client, connect: Connect):
    partner = connect()
    answers = [api.post(f"{partner.path}/test", headers=partner.key) for _ in range(3)]
    assert [each.headers["x-ratelimit-limit"] for each in answers] == ["30"] * 3
    assert answers[0].headers["x-ratelimit-remaining"] == "29"
    assert api.get("/api/test", headers=partner.key).headers["x-ratelimit-limit"] == "100000"
