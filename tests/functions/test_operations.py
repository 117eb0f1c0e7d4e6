"""What operators and tools ask: health, the audit trail, the API's own description and its page."""

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import jsonschema_rs
import pytest
import schemathesis

from tests.functions.index import index
from tests.functions.stack import Connect, Connected, Headers, Json, Receiver, Stack, register

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon-32x32.png": "image/png"}


def test_health_is_open_and_tells_the_version(api: httpx.Client) -> None:
    assert api.get("/api/health").json() == {"status": "ok", "version": "0.1.0"}


def test_ready_names_each_dependency(api: httpx.Client) -> None:
    answer = api.get("/api/ready")
    assert answer.status_code == 200
    assert answer.json()["dependencies"].keys() >= {"postgres", "redis", "svix", "xano"}
    assert answer.json()["dependencies"]["postgres"] == "ok"
    assert answer.headers["cache-control"] == "no-store"


# ── The audit trail ──────────────────────────────────────────────────────────────────────────────


def logs(api: httpx.Client, key: Headers, **query: str) -> list[Json]:
    answer = api.get("/api/logs", params=query | {"limit": "200"}, headers=key)
    assert answer.status_code == 200, answer.text
    return answer.json()["logs"]


def test_every_change_is_in_the_trail_with_who_and_from_where(
    api: httpx.Client, admin: Headers, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    made = api.post("/api/keys", json={"name": "x"}, headers=partner.key).json()
    rotated = api.post(f"/api/keys/{made['key_id']}/rotate", headers=partner.key).json()
    api.delete(f"/api/keys/{rotated['key_id']}", headers=partner.key)
    endpoint = register(api, partner.key, receiver)
    api.patch(partner.path, json={"name": "New"}, headers=admin)
    for move in ("suspend", "activate", "deactivate"):
        api.post(f"{partner.path}/{move}", headers=admin)
    api.delete(partner.path, headers=admin)

    house = api.get("/api/test", headers=admin).json()["key_id"]
    assert [(row["event_type"], row["target"], row["actor"]) for row in logs(api, admin, partner_id=partner.id)] == [
        ("partner.removed", partner.id, house),
        ("partner.deactivated", partner.id, house),
        ("partner.activated", partner.id, house),
        ("partner.suspended", partner.id, house),
        ("partner.updated", partner.id, house),
        ("webhook_endpoint.created", endpoint["endpoint_id"], partner.key_id),
        ("api_key.revoked", rotated["key_id"], partner.key_id),
        ("api_key.rotated", made["key_id"], partner.key_id),
        ("api_key.created", made["key_id"], partner.key_id),
        ("partner.connected", partner.id, house),
    ]


def test_a_row_tells_the_request_the_address_and_the_agent(
    api: httpx.Client, admin: Headers, partner: Connected
) -> None:
    mine = f"trace-{uuid4()}"
    where = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7:4242", "User-Agent": "curl/8", "X-Request-Id": mine}
    api.patch(partner.path, json={"metadata": {"n": 1}}, headers=admin | where).raise_for_status()
    (row,) = logs(api, admin, request_id=mine)
    assert (row["request_id"], row["ip_address"], row["user_agent"]) == (mine, "203.0.113.7", "curl/8")
    assert (row["severity"], row["partner_id"]) == ("info", partner.id)
    assert row["metadata"] == {"changes": {"metadata": {"n": 1}}}


def test_a_request_that_is_refused_leaves_no_row(api: httpx.Client, admin: Headers, partner: Connected) -> None:
    mine = f"trace-{uuid4()}"
    api.patch(partner.path, json={"name": ""}, headers=admin | {"X-Request-Id": mine})
    assert logs(api, admin, request_id=mine) == []


def test_secrets_are_masked_in_the_trail(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect(credentials={"api_key": "pw-first"})
    api.patch(partner.path, json={"credentials": {"api_key": "pw-second"}}, headers=admin)
    changed, connected = logs(api, admin, partner_id=partner.id)
    assert changed["metadata"]["changes"]["credentials"] == "***"
    assert connected["metadata"]["changes"]["credentials"] == "***"
    assert not re.search(r"pw-|whsec_|pk_live_\w{12}_", str((changed, connected)))


def test_a_partner_sees_its_own_rows_and_no_others(api: httpx.Client, partner: Connected, other: Connected) -> None:
    api.post("/api/keys", json={"name": "x"}, headers=other.key).raise_for_status()
    assert {row["partner_id"] for row in logs(api, partner.key)} == {partner.id}
    assert api.get("/api/logs", params={"partner_id": other.id}, headers=partner.key).status_code == 404
    assert logs(api, partner.key, event_type="partner.connected", severity="info", partner_id=partner.id)
    assert logs(api, partner.key, severity="error") == []


# ── The description ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def described(api: httpx.Client) -> Json:
    answer = api.get("/api/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def operations(described: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_description_is_openapi_3_1(described: Json) -> None:
    assert described["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(described).validate()
    for name, schema in described["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema | {"$schema": DIALECT}), name


def test_it_lists_exactly_the_functions_there_are(described: Json) -> None:
    listed = {(method, path) for method, path, _ in operations(described)}
    there_are = {
        (method, "/" + re.sub(r"\{\*?(\w+)[^}]*\}", r"{\1}", function.route))
        for function in index().http
        if function.name != "zz_not_found"
        for method in function.methods
    }
    assert listed == there_are


def test_each_operation_has_an_id_a_summary_and_a_tag(described: Json) -> None:
    found = [operation for _, _, operation in operations(described)]
    ids = [operation["operationId"] for operation in found]
    assert len(set(ids)) == len(ids)
    assert [
        each["operationId"] for each in found if not (each["summary"] and each["description"] and each["tags"])
    ] == []


def test_each_closed_operation_says_what_it_needs_and_how_it_refuses(described: Json) -> None:
    for method, path, operation in operations(described):
        if operation["security"]:
            assert operation["security"] == [{"bearer": []}, {"apiKey": []}]
            assert {"401", "403", "429", "503"} <= operation["responses"].keys(), (method, path)


def test_the_server_is_this_one(described: Json, stack: Stack) -> None:
    assert described["servers"] == [{"url": stack.url}]


# ── The page ─────────────────────────────────────────────────────────────────────────────────────


def test_the_page_needs_nothing_from_elsewhere(api: httpx.Client) -> None:
    page = api.get("/api/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert links
    for link in links:
        assert link.startswith("/api/")
        assert api.get(link).status_code == 200
    assert not re.search(r"https?://", page.text + api.get("/api/docs/page.js").text)


def test_the_page_runs_nothing_but_its_own_scripts(api: httpx.Client) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in api.get("/api/docs").headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "<script>" not in api.get("/api/docs").text


@pytest.mark.parametrize(("name", "content_type"), ASSETS.items())
def test_its_assets_are_served(api: httpx.Client, name: str, content_type: str) -> None:
    answer = api.get(f"/api/docs/{name}")
    assert answer.headers["content-type"].startswith(content_type)
    assert "max-age" in answer.headers["cache-control"]
    assert answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["nothing.js", "LICENSE", "..%2fopenapi.py", "%2e%2e", "page.js%00", "~"])
def test_nothing_else_is_served(api: httpx.Client, name: str) -> None:
    assert api.get(f"/api/docs/{name}").status_code in (404, 405)
