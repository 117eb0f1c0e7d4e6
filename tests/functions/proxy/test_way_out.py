"""The way out leads to the partner's host alone, however a path or an address is spelled."""

import httpx
import psycopg
import pytest

from tests.fault_proxy import Liar
from tests.functions.stack import Connect, Connected, Headers, Stack, as_it_is, proxy, refused

UPWARDS = [
    "..",
    ".",
    "../x",
    "orders/../../x",
    "orders/./x",
    "%2e%2e/x",
    "%2E%2e/x",
    ".%2e/x",
    "%2e./x",
    "..%2fx",
    "..%2Fx",
    "%2e%2e%2fx",
    "orders%2f..%2fx",
    "..%5cx",
    "..\\x",
    "%2e%2e%5cx",
    "%252e%252e/x",
    "%252e%252e%252fx",
    "..%252fx",
    "..;/x",
    "..;a=b/x",
    "%2e%2e;/x",
    "%2e%2e%3b/x",
    "orders/..",
    "orders/%2e%2e",
    "orders/..?a=1",
]


@pytest.mark.parametrize("path", UPWARDS)
def test_a_step_upwards_is_refused_however_it_is_spelled(
    stack: Stack, admin: Headers, false_friend: Connected, liar: Liar, path: str
):
    assert as_it_is(stack.url, proxy(false_friend, path), admin) == 400
    assert liar.heard == []


ELSEWHERE = [
    "/evil.example/x",
    "//evil.example/x",
    "@evil.example/x",
    ":80@evil.example/x",
    "http://evil.example/x",
    "http:%2f%2fevil.example/x",
    "%2f%2fevil.example/x",
    "%5c%5cevil.example/x",
    "\\\\evil.example/x",
    "%40evil.example",
    "?@evil.example/",
    "%3f@evil.example",
    "%23@evil.example",
    "%00",
    "%0d%0aHost:%20evil.example",
    "x%20HTTP/1.1%0d%0aHost:%20evil.example",
    "..evil",
    "...",
    "x..",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_no_path_leads_to_another_host_or_out_of_the_base(
    stack: Stack, admin: Headers, false_friend: Connected, liar: Liar, path: str
):
    status = as_it_is(stack.url, proxy(false_friend, path), admin)
    assert status in (200, 400, 404)
    assert len(liar.heard) == (status == 200)
    for heard in liar.heard:
        assert heard.headers["host"] == httpx.URL(liar.url).netloc.decode()
        assert heard.target.startswith("/base")
        assert heard.target[5:6] in ("", "/", "?")


@pytest.mark.parametrize("query", ["?a=\xe9", "?a=\x7f", "?a=%00%ff", "?" + "x" * 70_000, "?a=b?c#d"])
def test_no_query_breaks_the_gateway(stack: Stack, admin: Headers, false_friend: Connected, query: str):
    assert as_it_is(stack.url, proxy(false_friend, query), admin) < 500


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://2130706433/",
        "http://10.0.0.1/",
        "http://[::ffff:169.254.169.254]/",
        "http://168.63.129.16/",
        "http://0x7f.1/",
    ],
)
def test_an_address_inside_is_refused_when_it_is_registered_and_again_when_it_is_called(
    api: httpx.Client, admin: Headers, stack: Stack, connect: Connect, url: str
):
    """The second half writes past the check at registration: a name may change where it leads to."""
    partner = connect()
    body = {"api_endpoint": url}
    refused(api.patch(partner.path, json=body, headers=admin), 422, "url_not_allowed")
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as database:
        database.execute("UPDATE partners SET api_endpoint = %s WHERE partner_id = %s", (url, partner.id))
    if "2130706433" in url or "0x7f" in url:
        return  # loopback by another name, which this host may call: it runs with ALLOW_LOOPBACK_EGRESS
    refused(api.get(proxy(partner), headers=admin), 502, "egress_denied")
    tested = api.post(f"{partner.path}/test", headers=admin).json()
    assert (tested["ok"], tested["checks"][0]["ok"]) == (False, False)
