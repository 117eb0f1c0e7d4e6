"""Partners: connected, read, changed, moved between states, removed; and what others see of it."""

from uuid import uuid4

import httpx
import pytest

from tests.functions.stack import Connect, Connected, Headers, Json, Receiver, pointers, publish, refused, register

CREDENTIALS = {
    "api_key": {"api_key": "k-1", "header": "X-Key"},
    "bearer": {"token": "t-1"},
    "basic": {"username": "u", "password": "p-1"},
    "oauth2": {"client_id": "c", "client_secret": "s-1"},
}


def moved(api: httpx.Client, admin: Headers, partner: Connected, move: str) -> httpx.Response:
    return api.post(f"{partner.path}/{move}", headers=admin)


def seen(api: httpx.Client, partner: Connected) -> httpx.Response:
    return api.get("/api/test", headers=partner.key)


# ── Connect ──────────────────────────────────────────────────────────────────────────────────────


def test_a_partner_is_what_it_was_connected_as(api: httpx.Client, connect: Connect) -> None:
    partner = connect(type="provider", metadata={"tier": "gold", "n": [1, 2.5, None]}, rate_limit_per_minute=77)
    shown = api.get(partner.path, headers=partner.key).json()
    assert shown.items() <= partner.answer.items()
    assert (shown["type"], shown["rate_limit_per_minute"]) == ("provider", 77)
    assert shown["metadata"] == {"tier": "gold", "n": [1, 2.5, None]}
    assert shown["created_at"].endswith("Z")
    assert shown["last_sync_at"] is None


def test_the_answer_says_where_the_partner_is(api: httpx.Client, admin: Headers) -> None:
    body = {"name": "Shop", "type": "vendor", "auth_method": "bearer"}
    made = api.post("/api/partners/connect", json=body, headers=admin)
    assert made.headers["location"] == f"/api/partners/{made.json()['partner_id']}"
    assert made.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("auth_method", CREDENTIALS)
def test_each_auth_method_takes_its_own_credentials(connect: Connect, auth_method: str) -> None:
    partner = connect(auth_method=auth_method, credentials=CREDENTIALS[auth_method])
    assert partner.answer["auth_method"] == auth_method
    assert "credentials" not in partner.answer


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 256}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "   "}, "/name"),
        ({"name": 7}, "/name"),
        ({"name": None}, "/name"),
        ({"type": "friend"}, "/type"),
        ({"auth_method": "telepathy"}, "/auth_method"),
        ({"surprise": 1}, "/surprise"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"rate_limit_per_minute": 0}, "/rate_limit_per_minute"),
        ({"rate_limit_per_minute": "100"}, "/rate_limit_per_minute"),
        ({"rate_limit_per_minute": 1.5}, "/rate_limit_per_minute"),
        ({"rate_limit_per_minute": True}, "/rate_limit_per_minute"),
        ({"api_endpoint": "ftp://shop.example"}, "/api_endpoint"),
        ({"api_endpoint": "http://10.0.0.1/"}, "/api_endpoint"),
        ({"webhook_url": "https://169.254.169.254/", "webhook_events": ["order.created"]}, "/webhook_url"),
        ({"webhook_url": "https://shop.example/", "webhook_events": ["order.created", "x.y"]}, "/webhook_events/1"),
        ({"webhook_events": "order.created"}, "/webhook_events"),
        ({"credentials": {}}, "/credentials/api_key"),
        ({"credentials": {"api_key": "k", "token": "t"}}, "/credentials/token"),
        ({"credentials": {"api_key": 5}}, "/credentials/api_key"),
        ({"credentials": {"api_key": "two\r\nX-Injected: yes"}}, "/credentials/api_key"),
        ({"credentials": {"api_key": "k", "header": "Host"}}, "/credentials/header"),
        ({"auth_method": "bearer", "credentials": {"token": "schlüssel"}}, "/credentials/token"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["read:*", "fly"]}, "/scopes/1"),
        ({"scopes": ["admin"]}, "/scopes/0"),
        ({"metadata": []}, "/metadata"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_broken_rule_is_named_where_it_is_broken(
    api: httpx.Client, admin: Headers, change: Json, pointer: str
) -> None:
    body = {"name": "Shop", "type": "vendor", "auth_method": "api_key"} | change
    problem = refused(api.post("/api/partners/connect", json=body, headers=admin), 422)
    assert pointers(problem) == [pointer]


def test_everything_missing_is_named_at_once(api: httpx.Client, admin: Headers) -> None:
    problem = refused(api.post("/api/partners/connect", json={}, headers=admin), 422, "invalid_body")
    assert sorted(pointers(problem)) == ["/auth_method", "/name", "/type"]


# ── Read ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_partner_is_nobody_elses_business(api: httpx.Client, partner: Connected, other: Connected) -> None:
    for path in (partner.path, f"{partner.path}/webhooks"):
        refused(api.get(path, headers=other.key), 404, "not_found")
    unknown = refused(api.get(f"/api/partners/{uuid4()}", headers=other.key), 404)
    known = refused(api.get(partner.path, headers=other.key), 404)
    assert known | {"request_id": ""} == unknown | {"request_id": ""}


@pytest.mark.parametrize("wrong", ["x", "1", "%00", "..%2f..", "ffffffff-ffff-ffff-ffff-fffffffffff"])
def test_an_id_that_cannot_be_one_is_not_found(api: httpx.Client, admin: Headers, wrong: str) -> None:
    refused(api.get(f"/api/partners/{wrong}", headers=admin), 404, "not_found")


def test_partners_are_listed_newest_first_by_type_and_status(
    api: httpx.Client, admin: Headers, connect: Connect
) -> None:
    first, second = connect(type="provider"), connect(type="provider")
    moved(api, admin, first, "suspend")

    def listed(**query: str) -> list[str]:
        return [each["partner_id"] for each in api.get("/api/partners", params=query, headers=admin).json()["partners"]]

    assert listed(type="provider")[:2] == [second.id, first.id]
    assert first.id in listed(type="provider", status="suspended")
    assert second.id not in listed(status="suspended")
    assert first.id not in listed(type="vendor")


# ── Change ───────────────────────────────────────────────────────────────────────────────────────


def test_only_what_is_named_is_changed(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect(metadata={"a": 1}, api_endpoint="https://shop.example/api")
    before = api.get(partner.path, headers=admin).json()
    after = api.patch(partner.path, json={"name": "New Name"}, headers=admin).json()
    assert after == before | {"name": "New Name", "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert api.get(partner.path, headers=partner.key).json() == after


def test_null_takes_the_address_and_the_credentials_away(
    api: httpx.Client, admin: Headers, connect: Connect, receiver: Receiver
) -> None:
    partner = connect(api_endpoint=receiver.url, credentials={"api_key": "k"})
    changed = api.patch(partner.path, json={"api_endpoint": None, "credentials": None}, headers=admin)
    assert (changed.status_code, changed.json()["api_endpoint"]) == (200, None)
    assert api.get(partner.path, headers=admin).json() == changed.json()
    again = api.patch(partner.path, json={"api_endpoint": receiver.url, "metadata": None}, headers=admin).json()
    assert (again["api_endpoint"], again["metadata"]) == (receiver.url, changed.json()["metadata"])


def test_metadata_is_merged_and_null_removes(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect(metadata={"keep": 1, "change": 2, "drop": 3})
    changes = {"metadata": {"change": "two", "drop": None, "new": [4]}}
    assert api.patch(partner.path, json=changes, headers=admin).status_code == 200
    assert api.get(partner.path, headers=admin).json()["metadata"] == {"keep": 1, "change": "two", "new": [4]}


def test_a_new_limit_holds_from_the_next_request_on(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect(rate_limit_per_minute=50)
    assert seen(api, partner).headers["x-ratelimit-limit"] == "50"
    api.patch(partner.path, json={"rate_limit_per_minute": 60}, headers=admin).raise_for_status()
    assert seen(api, partner).headers["x-ratelimit-limit"] == "60"


def test_credentials_can_be_replaced_and_are_never_shown(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect(credentials={"api_key": "first-secret"})
    changed = api.patch(partner.path, json={"credentials": {"api_key": "second-secret"}}, headers=admin)
    logs = api.get("/api/logs", params={"partner_id": partner.id}, headers=admin)
    for answer in (changed, api.get(partner.path, headers=admin), logs):
        assert answer.status_code == 200
        assert "-secret" not in answer.text


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": None}, "/name"),
        ({"rate_limit_per_minute": None}, "/rate_limit_per_minute"),
        ({"status": "active"}, "/status"),
        ({"partner_id": str(uuid4())}, "/partner_id"),
        ({"auth_method": "bearer"}, "/auth_method"),
        ({"api_endpoint": "https://localhost./"}, "/api_endpoint"),
        ({"credentials": {"token": "t"}}, "/credentials/api_key"),
        ({"rate_limit_per_minute": 1_000_001}, "/rate_limit_per_minute"),
    ],
)
def test_a_change_that_breaks_a_rule_changes_nothing(
    api: httpx.Client, admin: Headers, partner: Connected, changes: Json, pointer: str
) -> None:
    before = api.get(partner.path, headers=admin).json()
    problem = refused(api.patch(partner.path, json={"name": "X"} | changes, headers=admin), 422)
    assert pointer in pointers(problem)
    assert api.get(partner.path, headers=admin).json() == before


def test_an_unknown_partner_cannot_be_changed(api: httpx.Client, admin: Headers) -> None:
    path = f"/api/partners/{uuid4()}"
    refused(api.patch(path, json={"name": "X"}, headers=admin), 404)
    refused(api.delete(path, headers=admin), 404)
    for move in ("activate", "suspend", "deactivate"):
        refused(api.post(f"{path}/{move}", headers=admin), 404)


# ── Move ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_suspended_partner_is_refused_at_once_and_back_at_once(
    api: httpx.Client, admin: Headers, connect: Connect
) -> None:
    partner = connect()
    assert seen(api, partner).status_code == 200
    assert moved(api, admin, partner, "suspend").json()["status"] == "suspended"
    refused(seen(api, partner), 403, "partner_suspended")
    assert moved(api, admin, partner, "activate").json()["status"] == "active"
    assert seen(api, partner).status_code == 200


def test_a_suspended_partner_can_do_nothing_at_all(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect()
    moved(api, admin, partner, "suspend")
    calls = [
        api.get(partner.path, headers=partner.key),
        api.get("/api/keys", headers=partner.key),
        api.post("/api/keys", json={"name": "x"}, headers=partner.key),
        api.post("/api/events", json={"event_type": "order.created", "payload": {}}, headers=partner.key),
        api.delete(f"/api/keys/{partner.key_id}", headers=partner.key),
    ]
    assert {refused(answer, 403)["code"] for answer in calls} == {"partner_suspended"}


def test_an_inactive_partner_is_refused_until_it_is_active(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect()
    moved(api, admin, partner, "deactivate")
    refused(seen(api, partner), 403, "partner_inactive")
    moved(api, admin, partner, "activate")
    assert seen(api, partner).status_code == 200


@pytest.mark.parametrize(
    "moves",
    ["activate", "suspend suspend", "deactivate deactivate", "deactivate suspend", "suspend deactivate suspend"],
)
def test_an_illegal_move_is_a_conflict_and_changes_nothing(
    api: httpx.Client, admin: Headers, connect: Connect, moves: str
) -> None:
    partner = connect()
    *legal, illegal = moves.split()
    for move in legal:
        assert moved(api, admin, partner, move).status_code == 200
    before = api.get(partner.path, headers=admin).json()
    refused(moved(api, admin, partner, illegal), 409, "illegal_move")
    assert api.get(partner.path, headers=admin).json() == before


# ── Remove ───────────────────────────────────────────────────────────────────────────────────────


def test_the_keys_of_a_removed_partner_are_dead_at_once(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect()
    second = api.post("/api/keys", json={"name": "second"}, headers=partner.key).json()["api_key"]
    assert seen(api, partner).status_code == 200
    assert api.delete(partner.path, headers=admin).status_code == 204
    refused(seen(api, partner), 401)
    refused(api.get("/api/test", headers={"X-API-Key": second}), 401)


def test_a_removed_partner_stays_as_an_inactive_row(api: httpx.Client, admin: Headers, connect: Connect) -> None:
    partner = connect()
    api.delete(partner.path, headers=admin)
    assert api.get(partner.path, headers=admin).json()["status"] == "inactive"
    assert api.delete(partner.path, headers=admin).status_code == 204
    refused(moved(api, admin, partner, "activate"), 409, "illegal_move")
    refused(api.patch(partner.path, json={"name": "X"}, headers=admin), 404)
    refused(api.post("/api/keys", json={"name": "x", "partner_id": partner.id}, headers=admin), 404)


def test_a_removed_partner_gets_no_more_events(
    api: httpx.Client, admin: Headers, connect: Connect, receiver: Receiver
) -> None:
    partner = connect()
    endpoint = register(api, partner.key, receiver)
    publish(api, partner.key)
    receiver.wait_for(1)
    api.delete(partner.path, headers=admin)
    event = {"event_type": "order.created", "payload": {}, "partner_id": partner.id}
    refused(api.post("/api/events", json=event, headers=admin), 404)
    refused(api.get(f"/api/webhooks/{endpoint['endpoint_id']}", headers=admin), 404)
    assert api.get(f"{partner.path}/webhooks", headers=admin).json()["webhooks"] == []
