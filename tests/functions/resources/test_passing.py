"""What reaches the backend, and in what words."""

import json

import httpx
import pytest

from tests.functions.resources.backend import ORDERS, Gateway, Xano
from tests.functions.stack import Connected, refused


def test_the_backend_learns_who_asks_and_never_the_key_that_was_shown(gateway: Gateway, partner: Connected, xano: Xano):
    other = gateway.connect()
    headers = partner.key | {
        "X-Request-Id": "trace-7",
        "X-Partner-Id": other.id,
        "Cookie": "session=1",
        "X-Forwarded-For": "203.0.113.9",
        "X-Data-Source": "test",
    }
    gateway.api.get(ORDERS, headers=headers).raise_for_status()
    gateway.api.post(ORDERS, json={"number": "A-1"}, headers=headers | {"X-API-Key": partner.api_key})
    assert xano.asked(other) == []
    asked = xano.asked(partner)
    assert [each["headers"]["x-request-id"] for each in asked] == ["trace-7", "trace-7"]
    for each in asked:
        assert partner.api_key not in json.dumps(each)
        assert each["headers"]["authorization"] == "Bearer ***"
        assert not {"cookie", "x-api-key", "x-forwarded-for", "x-data-source"} & each["headers"].keys()


def test_query_and_body_arrive_as_they_were_sent(api: httpx.Client, partner: Connected, xano: Xano):
    query = "page=1&per_page=5&tag[]=a&tag[]=b&name=caf%C3%A9+x&empty=&%20=%2B"
    api.get(f"{ORDERS}?{query}", headers=partner.key).raise_for_status()
    body = '{"number": "A-1",  "total": 1.10, "items": [{"b": 1e2, "a": "é"}], "unknown": null}'.encode()
    json_headers = partner.key | {"Content-Type": "application/json; charset=utf-8"}
    made = api.post(ORDERS, content=body, headers=json_headers)
    read, written = xano.asked(partner)
    assert (read["query"], written["body"].encode()) == (query, body)
    assert made.content == json.dumps(made.json(), separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/json", b"{", 400),
        ("application/json", b'{"a": 1, "a": 2}', 400),
        ("application/json", b'{"a": NaN}', 400),
        ("application/json", b"[" * 40 + b"]" * 40, 400),
        ("application/json", b'{"a": "\xff"}', 400),
        ("application/json", b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_a_body_that_is_not_sound_json_never_reaches_the_backend(
    api: httpx.Client, partner: Connected, xano: Xano, content_type: str, body: bytes, status: int
):
    headers = partner.key | {"Content-Type": content_type}
    refused(api.post(ORDERS, content=body, headers=headers), status)
    refused(api.put(f"{ORDERS}/1", content=body, headers=headers), status)
    assert xano.asked(partner) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_header_that_cannot_be_passed_on_is_the_callers_fault(api: httpx.Client, partner: Connected, method: str):
    headers = {name.encode(): value.encode() for name, value in partner.key.items()}
    strange = headers | {b"Idempotency-Key": "käse".encode(), b"If-None-Match": "é".encode()}
    assert api.request(method, f"{ORDERS}/1", headers=strange).status_code in (400, 404)
