"""What every request must be like: method, path, size, type, and JSON that has one meaning only."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.functions.stack import Connected, Headers, Stack, refused

UNREADABLE = {
    "nothing": b"",
    "half": b'{"name": ',
    "two": b'{"name": "x"} {}',
    "a name twice": b'{"name": "x", "name": "y"}',
    "a name twice, deep": b'{"name": "x", "scopes": [{"a": 1, "a": 2}]}',
    "NaN": b'{"name": NaN}',
    "infinity": b'{"name": "x", "rate_limit_per_minute": Infinity}',
    "a number beyond floats": b'{"name": "x", "rate_limit_per_minute": 1e400}',
    "an integer beyond 2^53": b'{"name": "x", "rate_limit_per_minute": 9007199254740993}',
    "an integer of 5000 digits": b'{"name": "x", "rate_limit_per_minute": ' + b"9" * 5000 + b"}",
    "33 levels": b'{"name": ' + b"[" * 32 + b"]" * 32 + b"}",
    "100000 levels": b"[" * 100_000,
    "1001 items": b'{"name": [' + b"1," * 1000 + b"1]}",
    "10001 values": b'{"name": [' + b",".join([b"[" + b"1," * 99 + b"1]"] * 100) + b"]}",
    "a long text": b'{"name": "' + b"x" * 10_001 + b'"}',
    "NUL": b'{"name": "a\\u0000b"}',
    "NUL in a name": b'{"a\\u0000": 1}',
    "half of a surrogate pair": b'{"name": "\\ud800"}',
    "half of a surrogate pair in a name": b'{"\\udfff": 1}',
    "a byte order mark": b'\xef\xbb\xbf{"name": "x"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "Latin-1": '{"name": "é"}'.encode("latin-1"),
    "a control character": b'{"name": "a\nb"}',
    "a comment": b'{"name": "x"} // hello',
    "single quotes": b"{'name': 'x'}",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_json_that_is_none_or_means_two_things_is_unreadable(
    api: httpx.Client, partner: Connected, body: bytes
) -> None:
    headers = partner.key | {"Content-Type": "application/json"}
    refused(api.post("/api/keys", content=body, headers=headers), 400, "unreadable_body")


@pytest.mark.parametrize("body", [b"[]", b'"name"', b"7", b"null", b"true"])
def test_json_that_is_no_object_breaks_a_rule(api: httpx.Client, partner: Connected, body: bytes) -> None:
    headers = partner.key | {"Content-Type": "application/json"}
    problem = refused(api.post("/api/keys", content=body, headers=headers), 422, "invalid_body")
    assert [each["pointer"] for each in problem["errors"]] == [""]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", ""]
)
def test_another_content_type_is_refused(api: httpx.Client, partner: Connected, content_type: str) -> None:
    headers = partner.key | {"Content-Type": content_type}
    refused(api.post("/api/keys", content=b'{"name": "x"}', headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"]
)
def test_every_spelling_of_json_is_taken(api: httpx.Client, partner: Connected, content_type: str) -> None:
    headers = partner.key | {"Content-Type": content_type}
    assert api.post("/api/keys", content=b'{"name": "x"}', headers=headers).status_code == 201


def test_a_body_of_two_megabytes_is_too_large(api: httpx.Client, partner: Connected) -> None:
    body = {"event_type": "order.created", "payload": {"x": "x" * 2_000_000}}
    refused(api.post("/api/events", json=body, headers=partner.key), 413, "too_large")


def test_a_body_just_within_a_megabyte_is_taken(api: httpx.Client, partner: Connected) -> None:
    texts = ["x" * 9_900] * 105
    body = {"event_type": "order.created", "payload": {"texts": texts}}
    assert 1_000_000 < len(httpx.Request("POST", "http://x", json=body).content) < 1_048_576
    assert api.post("/api/events", json=body, headers=partner.key).status_code == 202


def test_a_chunked_body_is_refused_rather_than_misread(api: httpx.Client, partner: Connected) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"name": "x"}'

    headers = partner.key | {"Content-Type": "application/json"}
    refused(api.post("/api/keys", content=chunks(), headers=headers), 411, "length_required")


def test_another_method_is_answered_with_those_there_are(api: httpx.Client, admin: Headers) -> None:
    answer = api.put("/api/test", headers=admin)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"
    assert api.put("/api/partners/x").headers["allow"] == "DELETE, GET, PATCH"
    assert api.delete("/api/docs/").status_code == 405
    assert api.put("/api/partners/connect").headers["allow"] == "POST"
    assert api.put("/api/webhooks/deliveries").headers["allow"] == "GET"


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/nothing", "/api/test/more", "/apj/test", "/%00", "/api//test", "/é"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_an_unknown_path_is_not_found_as_a_problem(api: httpx.Client, method: str, path: str) -> None:
    refused(api.request(method, path), 404, "not_found")


def test_a_header_with_a_line_break_reaches_nobody(stack: Stack) -> None:
    """A request id is echoed into a header; what could split one must not come through."""
    request = b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\rX-Evil: 1\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", httpx.URL(stack.url).port or 0)) as wire:
        wire.sendall(request)
        answer = b"".join(iter(lambda: wire.recv(65_536), b""))
    assert b"evil" not in answer.lower()


def test_an_answer_is_not_to_be_sniffed(api: httpx.Client) -> None:
    assert api.get("/api/health").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "call",
    [
        "GET /api/webhooks/%00",
        "DELETE /api/keys/%00",
        "GET /api/webhooks/deliveries?event_type=%00",
        "GET /api/logs?request_id=%00",
    ],
)
def test_a_nul_in_a_path_or_query_is_not_found_or_refused(api: httpx.Client, admin: Headers, call: str) -> None:
    assert api.request(*call.split(), headers=admin).status_code in (400, 404)
