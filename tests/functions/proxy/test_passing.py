"""What passes through the gateway to a partner and back, and what does not."""

from typing import Any

import httpx
import pytest

from tests.fault_proxy import Liar, answer, json_answer
from tests.functions.stack import Connect, Connected, Headers, proxy, refused

MIB = 1024 * 1024


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_passes_with_query_body_and_the_headers_about_them(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, method: str
):
    sent = admin | {
        "Content-Type": "application/xml; charset=latin-1",
        "Accept": "text/csv;q=0.5",
        "Accept-Language": "de",
        "Idempotency-Key": "order-7",
        "If-Match": '"v1"',
        "Range": "bytes=0-9",
    }
    target = proxy(false_friend, "a%20b/c%2Fd/%C3%A9?tag[]=1&tag[]=2&empty=&plus=a+b&q=%26%3D")
    answered = api.request(method, target, content=b"<\xe9/>", headers=sent)
    assert answered.status_code == 200
    [heard] = liar.heard
    assert (heard.method, heard.body) == (method, b"<\xe9/>")
    assert heard.target == "/base/a%20b/c%2Fd/%C3%A9?tag[]=1&tag[]=2&empty=&plus=a+b&q=%26%3D"
    passed = {name: heard.headers[name.lower()] for name in sent if name != "Authorization"}
    assert passed == {name: value for name, value in sent.items() if name != "Authorization"}


def test_the_base_itself_can_be_called(api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar):
    for path, target in ("", "/base"), ("/", "/base"), ("?a=1", "/base?a=1"), ("//x", "/base/x"):
        liar.tells(json_answer(b"{}"))
        assert api.get(f"/api/proxy/{false_friend.id}{path}", headers=admin).status_code == 200
        assert [heard.target for heard in liar.heard] == [target]


def test_a_query_of_the_api_endpoints_own_stays(api: httpx.Client, admin: Headers, connect: Connect, liar: Liar):
    partner = connect(api_endpoint=f"{liar.url}/base?site=7", credentials={"api_key": "k"})
    for path, target in ("", "/base?site=7"), ("?a=1", "/base?site=7&a=1"), ("/x?b", "/base/x?site=7&b"):
        liar.tells(json_answer(b"{}"))
        assert api.get(f"/api/proxy/{partner.id}{path}", headers=admin).status_code == 200
        assert [heard.target for heard in liar.heard] == [target]


def test_a_record_lives_its_life_through_the_proxy(api: httpx.Client, admin: Headers, partner: Connected):
    made = api.post(proxy(partner), json={"number": "P-1", "total": 5}, headers=admin)
    assert (made.status_code, made.headers["location"].startswith("/api/orders/")) == (201, True)
    one = proxy(partner, f"orders/{made.json()['id']}")
    read = api.get(one, headers=admin)
    assert read.json()["number"] == "P-1"
    known = api.get(one, headers=admin | {"If-None-Match": read.headers["etag"]})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", read.headers["etag"])
    head = api.head(one, headers=admin)
    assert (head.status_code, head.content) == (200, b"")
    assert {each.headers["content-type"] for each in (read, head)} == {"application/json"}
    assert api.patch(one, json={"total": 6}, headers=admin).json()["total"] == 6
    assert api.delete(one, headers=admin).status_code == 204
    gone = api.get(one, headers=admin)
    assert (gone.status_code, gone.headers["content-type"], "error" in gone.json()) == (404, "application/json", True)
    assert api.put(one, content=b"{", headers=admin).status_code in (400, 404)
    assert api.delete(proxy(partner), headers=admin).status_code == 405


@pytest.mark.parametrize(
    "status", [200, 202, 206, 207, 299, 400, 401, 402, 403, 404, 409, 410, 418, 422, 451, 500, 503]
)
def test_the_partners_status_is_the_callers(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, status: int
):
    liar.tells(json_answer(b'{"said": 1}', "Retry-After: 7", 'WWW-Authenticate: Basic realm="shop"', status=status))
    answered = api.get(proxy(false_friend), headers=admin)
    assert (answered.status_code, answered.json(), answered.headers["retry-after"]) == (status, {"said": 1}, "7")
    assert "www-authenticate" not in answered.headers


@pytest.mark.parametrize("status", [199, 600, 999])
def test_a_status_that_http_does_not_have_is_a_failed_answer(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, status: int
):
    liar.tells(json_answer(b"{}", status=status))
    assert api.get(proxy(false_friend), headers=admin).json()["status"] in (502, 504)


def test_nothing_of_the_partners_speaks_for_the_gateway(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar
):
    spoken = {
        "Set-Cookie": "session=of-the-partner",
        "X-Request-Id": "of-the-partner",
        "X-RateLimit-Limit": "7",
        "X-RateLimit-Remaining": "7",
        "X-RateLimit-Reset": "7",
        "RateLimit": "of-the-partner",
        "RateLimit-Policy": "of-the-partner",
        "X-PinkSync-Degraded": "partner",
        "X-Cache": "HIT",
        "Idempotency-Replayed": "true",
        "Cache-Control": "public, max-age=31536000",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Credentials": "true",
        "Strict-Transport-Security": "max-age=0",
        "Clear-Site-Data": '"*"',
        "Alt-Svc": 'h3="evil.example:443"',
        "Server": "of-the-partner",
    }
    liar.tells(json_answer(b"{}", *(f"{name}: {value}" for name, value in spoken.items()), "X-Shop: open"))
    answered = api.get(proxy(false_friend), headers=admin | {"X-Request-Id": "trace-7"})
    assert answered.headers["x-shop"] == "open"
    repeated = {name for name, value in spoken.items() if answered.headers.get(name) == value}
    assert repeated == set()
    assert answered.headers.get_list("cache-control") == ["no-store"]
    assert (answered.headers["x-request-id"], answered.headers["x-ratelimit-limit"]) == ("trace-7", "60000")


@pytest.mark.parametrize("header", ["X-Shop: caf\xe9", "Content-Type: text/plain; charset=\xe9", 'ETag: "\xff"'])
def test_headers_of_the_partner_that_are_not_ascii_do_not_break_the_answer(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, header: str
):
    liar.tells(answer(200, b"fine", header))
    answered = api.get(proxy(false_friend), headers=admin)
    assert (answered.status_code, answered.content) == (200, b"fine")


def test_headers_of_the_caller_that_cannot_be_passed_on_do_not_break_the_call(
    api: httpx.Client, admin: Headers, false_friend: Connected
):
    strange: Any = {b"Accept-Language": "français".encode(), b"If-Match": b'"\xc3\xa9"'}
    sent = strange | {name.encode(): value.encode() for name, value in admin.items()}
    assert api.get(proxy(false_friend), headers=sent).status_code in (200, 400)


def test_a_body_of_a_mebibyte_passes_and_more_does_not(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar
):
    body = bytes(range(256)) * 4096
    assert api.post(proxy(false_friend), content=body, headers=admin).status_code == 200
    assert liar.heard[0].body == body
    refused(api.post(proxy(false_friend), content=body + b"x", headers=admin), 413, "too_large")
    assert len(liar.heard) == 1
