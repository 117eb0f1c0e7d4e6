"""What holds for every HTTP function there is, taken from the real index: none without its guard."""

import re
from collections.abc import Iterable, Iterator
from uuid import uuid4

import httpx
import pytest

import function_app  # noqa: F401 - registers everything
from devstack.functions_host.metadata import Function
from devstack.settings import api_key
from functions.http import ENDPOINTS, Access
from shared_code.services.key_format import checksum, random_text
from tests.functions.index import index
from tests.functions.stack import Connect, Connected, Headers

OPEN = {"health", "ready", "openapi_json", "docs_page", "docs_asset", "zz_not_found"}
PAGES = {"oauth_authorize", "oauth_callback"}
"""For browsers that hold a link or a state, and nothing else; what they refuse is a page."""
SIGNED = {"inbound_partner", "inbound_svix"}
"""No key, but a signature over the raw body."""
MEMBERS = {"type", "title", "status", "detail", "code", "request_id", "error"}
LIMIT_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy", "ratelimit")
type RawHeaders = dict[bytes, bytes]


def raw(**headers: str) -> RawHeaders:
    return {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}


BAD_KEYS = {
    "none": raw(),
    "empty": raw(Authorization="Bearer", X_API_Key=""),
    "malformed": raw(Authorization="Bearer pk_live_nonsense"),
    "longer than bcrypt takes": raw(X_API_Key="pk_live_" + "x" * 5000),
    "with a character of another alphabet": raw(X_API_Key=api_key()[:-1] + "~"),
    "of the other mode": raw(Authorization=f"Bearer {api_key().replace('pk_live_', 'pk_test_')}"),
    "of another scheme": raw(Authorization=f"Basic {api_key()}"),
    "not ASCII": raw(X_API_Key="pk_live_ключ"),
}
BAD_BODIES: dict[str, tuple[str, bytes]] = {
    "too large": ("application/json", b'"' + b"x" * 2_000_000 + b'"'),
    "not JSON": ("application/json", b"{"),
    "of another type": ("text/plain", b"hello"),
}


def calls(functions: Iterable[Function]) -> Iterator[tuple[str, str, str]]:
    """Name, method and path of each, with ids of nothing."""
    for function in functions:
        for method in sorted(function.methods):
            yield f"{function.name} {method}", method, "/" + re.sub(r"\{[^}]*\}", str(uuid4()), function.route)


@pytest.fixture(scope="module")
def closed() -> list[tuple[str, str, str]]:
    return list(calls(function for function in index().http if function.name not in OPEN | PAGES | SIGNED))


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
def test_no_closed_function_answers_anything_but_401(
    api: httpx.Client, closed: list[tuple[str, str, str]], key: RawHeaders
) -> None:
    answers = {name: api.request(method, path, headers=key) for name, method, path in closed}
    assert {name: answer.status_code for name, answer in answers.items() if not is_a_proper_401(answer)} == {}


def test_an_unknown_key_is_refused_everywhere(api: httpx.Client, closed: list[tuple[str, str, str]]) -> None:
    key = {"Authorization": f"Bearer {api_key()}"}
    answers = {name: api.request(method, path, headers=key) for name, method, path in closed}
    assert {name: answer.status_code for name, answer in answers.items() if not is_a_proper_401(answer)} == {}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_what_is_wrong_with_a_body_is_told_to_no_stranger(
    api: httpx.Client, closed: list[tuple[str, str, str]], body: tuple[str, bytes]
) -> None:
    headers, content = {"Content-Type": body[0]}, body[1]
    answers = {name: api.request(method, path, headers=headers, content=content) for name, method, path in closed}
    assert {name: answer.status_code for name, answer in answers.items() if not is_a_proper_401(answer)} == {}


def is_a_proper_401(answer: httpx.Response) -> bool:
    told = answer.json() if answer.request.method != "HEAD" else dict.fromkeys(MEMBERS) | {"code": "unauthorized"}
    return (
        answer.status_code == 401
        and answer.headers.get("www-authenticate", "").startswith("Bearer ")
        and answer.headers["content-type"] == "application/problem+json"
        and told.keys() == MEMBERS
        and told["code"] == "unauthorized"
    )


def test_an_unknown_key_a_wrong_secret_and_a_malformed_key_are_answered_alike(
    api: httpx.Client, connect: Connect
) -> None:
    known = connect().api_key
    forged = well_formed_with_id_of(known)
    bodies = [api.get("/api/test", headers={"X-API-Key": key}).json() for key in (api_key(), forged, "nonsense")]
    assert [body | {"request_id": ""} for body in bodies] == [bodies[0] | {"request_id": ""}] * 3


def well_formed_with_id_of(key: str) -> str:
    """Another secret, with a right checksum."""
    body = f"{key[:20]}_{random_text(43)}"
    return body + checksum(body)


def test_only_the_listed_functions_are_open(api: httpx.Client) -> None:
    """The list here and the registrations say the same, and the running host agrees."""
    assert {made.name for made in ENDPOINTS if made.access is Access.OPEN} | {"zz_not_found"} == OPEN | PAGES
    assert {made.name for made in ENDPOINTS if made.page} == PAGES
    assert {made.name for made in ENDPOINTS if made.access is Access.SIGNED} == SIGNED
    opened = calls(function for function in index().http if function.name in OPEN)
    assert {api.request(method, path).status_code for _, method, path in opened} <= {200, 404}


def test_every_function_has_an_id_for_the_request_and_keeps_a_sane_one(api: httpx.Client, admin: Headers) -> None:
    mine = f"test-{uuid4().hex}"
    for name, method, path in calls(index().http):
        for key in ({}, admin):
            answer = api.request(method, path, headers={**key, "X-Request-Id": mine})
            assert answer.headers["x-request-id"] == mine, name


@pytest.mark.parametrize("insane", ["", "x" * 65, "a b", "a\tb", "<script>", "a,b", "é", "${jndi:x}", "a%0d%0ab"])
def test_an_insane_request_id_is_replaced(api: httpx.Client, insane: str) -> None:
    answer = api.get("/api/health", headers=raw(X_Request_Id=insane))
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_a_problem_document_has_every_member_and_agrees_with_its_answer(api: httpx.Client, admin: Headers) -> None:
    """With the admin's key and nothing else, most functions refuse."""
    seen: set[int] = set()
    for name, method, path in calls(function for function in index().http if function.name not in PAGES):
        answer = api.request(method, path, headers=admin)
        if answer.status_code < 400 or method == "HEAD":
            continue
        problem = answer.json()
        seen.add(answer.status_code)
        assert problem.keys() - {"errors"} == MEMBERS, name
        assert problem["status"] == answer.status_code
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert problem["title"] == problem["error"]
        assert problem["type"] == f"https://errors.pinksync.dev/{problem['code']}"
        assert problem["detail"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", problem["code"])
    assert {404, 415} <= seen


def test_a_page_opens_nothing_without_a_link_or_a_state(api: httpx.Client, admin: Headers) -> None:
    for name, method, path in calls(function for function in index().http if function.name in PAGES):
        for key in ({}, admin):
            answer = api.request(method, path, headers=key)
            assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8"), name


@pytest.mark.parametrize("who", ["admin", "partner"])
def test_every_answer_to_a_valid_key_tells_its_limit(
    api: httpx.Client, admin: Headers, partner: Connected, closed: list[tuple[str, str, str]], who: str
) -> None:
    key = admin if who == "admin" else partner.key
    for name, method, path in closed:
        answer = api.request(method, path, headers=key)
        assert [header for header in LIMIT_HEADERS if header not in answer.headers] == [], name
        assert answer.headers["cache-control"] == "no-store", name


def test_no_partner_key_opens_an_admin_function(api: httpx.Client, partner: Connected) -> None:
    names = {made.name for made in ENDPOINTS if made.access is Access.ADMIN}
    assert len(names) >= 8
    for name, method, path in calls(function for function in index().http if function.name in names):
        answer = api.request(method, path, headers=partner.key)
        assert (answer.status_code, answer.json()["code"]) == (403, "admin_only"), name


def test_a_key_without_the_scope_is_told_which_one_it_needs(api: httpx.Client, connect: Connect) -> None:
    narrow = connect(scopes=["read:nothing"])
    scopes = {made.name: made.scope for made in ENDPOINTS if made.scope}
    assert scopes["events_publish"] == "write:events"
    for function in index().http:
        if function.name in scopes:
            _, method, path = next(calls([function]))
            if "{resource}" in function.route:  # of one that is not there it is told that
                path = path.replace(path.split("/")[3], "orders")
            problem = api.request(method, path, headers=narrow.key).json()
            assert problem["code"] == "insufficient_scope", function.name
            assert re.fullmatch(re.sub(r"\{\w+\}", r"[^:]+", scopes[function.name]), problem["required_scope"])


def test_no_signed_function_does_anything_without_a_signature(api: httpx.Client) -> None:
    for name, method, path in calls(function for function in index().http if function.name in SIGNED):
        for headers in ({}, {"svix-id": "msg_1", "svix-timestamp": "1", "svix-signature": "v1,AA=="}):
            answer = api.request(method, path, headers=headers, json={})
            assert (answer.status_code, answer.json()["error"]) == (400, "Invalid signature"), name
