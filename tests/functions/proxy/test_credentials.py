"""The partner's credentials are put in, and the caller's own taken out."""

import json

import httpx
import pytest

from tests.fault_proxy import Liar
from tests.functions.stack import Connect, Connected, Headers, Json, proxy, refused
from tests.shop import Shop

CALLERS_OWN = {
    "Cookie": "session=of-the-caller",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "gateway.example",
    "Forwarded": "for=203.0.113.9",
    "X-Partner-Id": "11111111-1111-1111-1111-111111111111",
    "X-Internal": "caller",
    "Referer": "https://gateway.example/",
    "Origin": "https://gateway.example",
}


def seen_as(kind: str, secret: str) -> tuple[str, Json]:
    """The auth_method and the credentials for a way of showing the shop's key."""
    return {
        "default header": ("api_key", {"api_key": secret}),
        "named header": ("api_key", {"api_key": secret, "header": "x-ApI-kEy"}),
        "query": ("api_key", {"api_key": secret, "query": "api_key"}),
        "bearer": ("bearer", {"token": secret}),
        "basic": ("basic", {"username": "pinksync", "password": secret}),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "header", "value"),
    [
        ("default header", "x-api-key", "***"),
        ("named header", "x-api-key", "***"),
        ("query", None, None),
        ("bearer", "authorization", "Bearer ***"),
        ("basic", "authorization", "Basic ***"),
    ],
)
def test_the_partners_credentials_are_put_in_and_the_callers_own_taken_out(
    api: httpx.Client, admin: Headers, connect: Connect, shop: Shop, kind: str, header: str | None, value: str | None
):
    method, credentials = seen_as(kind, shop.service.secret)
    partner = connect(api_endpoint=shop.endpoint, auth_method=method, credentials=credentials)
    key = admin["Authorization"].removeprefix("Bearer ")
    everything = CALLERS_OWN | {"X-Request-Id": "trace-7", "X-API-Key": key}
    answered = api.get(proxy(partner, "orders?limit=2"), headers=admin | everything)
    assert (answered.status_code, len(answered.json()["data"])) == (200, 2)

    [request] = shop.asked()
    arrived = request["headers"]
    assert request["query"] == ("limit=2&api_key=***" if kind == "query" else "limit=2")
    shown = {name: arrived[name] for name in ("x-api-key", "authorization") if name in arrived}
    assert shown == ({header: value} if header else {})
    assert key not in json.dumps(request)
    assert not {name.lower() for name in CALLERS_OWN} & arrived.keys()
    assert (arrived["x-request-id"], arrived["accept-encoding"]) == ("trace-7", "identity")
    assert arrived["host"] == httpx.URL(shop.endpoint).netloc.decode()


def test_a_header_of_any_name_can_carry_the_key(false_friend: Connected, api: httpx.Client, admin: Headers, liar: Liar):
    body = {"credentials": {"api_key": "its-key", "header": "X-Shop-Token"}}
    api.patch(false_friend.path, json=body, headers=admin).raise_for_status()
    api.get(proxy(false_friend), headers=admin).raise_for_status()
    assert liar.heard[0].headers["x-shop-token"] == "its-key"
    assert not {"x-api-key", "authorization"} & liar.heard[0].headers.keys()


def test_a_partner_without_credentials_is_called_without_any(
    api: httpx.Client, admin: Headers, connect: Connect, liar: Liar
):
    partner = connect(api_endpoint=liar.url)
    api.get(proxy(partner), headers=admin | {"X-API-Key": "stray"}).raise_for_status()
    assert not {"x-api-key", "authorization"} & liar.heard[0].headers.keys()


@pytest.mark.parametrize(
    "credentials",
    [
        {"api_key": "schlüssel"},
        {"api_key": "two\r\nX-Injected: yes"},
        {"api_key": "k", "header": "X Bad"},
        {"api_key": "k", "header": "X-Bad\r\nX-Injected"},
        {"api_key": "k", "header": "Host"},
        {"api_key": "7", "header": "Content-Length"},
        {"api_key": "chunked", "header": "transfer-encoding"},
    ],
)
def test_credentials_that_no_header_can_carry_are_refused(
    api: httpx.Client, admin: Headers, partner: Connected, liar: Liar, credentials: Json
):
    body = {"name": "Corner Shop", "type": "vendor", "auth_method": "api_key", "api_endpoint": liar.url}
    made = api.post("/api/partners/connect", json=body | {"credentials": credentials}, headers=admin)
    refused(made, 422, "invalid_body")
    refused(api.patch(partner.path, json={"credentials": credentials}, headers=admin), 422, "invalid_body")
    assert liar.heard == []


def test_a_secret_of_the_partner_is_in_no_answer(api: httpx.Client, admin: Headers, partner: Connected, shop: Shop):
    answers = [
        api.get(proxy(partner), headers=admin),
        api.get(partner.path, headers=admin),
        api.get(f"/api/logs?partner_id={partner.id}", headers=admin),
        api.post(f"{partner.path}/test", headers=admin),
    ]
    for each in answers:
        assert each.status_code == 200
        assert shop.service.secret not in each.text + str(each.headers)
