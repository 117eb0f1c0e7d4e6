"""API keys: made, listed, rotated with grace, revoked; never worth more than the key that asks."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.functions.stack import Connect, Connected, Headers, Json, pointers, refused
from tests.services import eventually


def made(api: httpx.Client, key: Headers, **body: object) -> Json:
    answer = api.post("/api/keys", json={"name": "another", **body}, headers=key)
    assert answer.status_code == 201, answer.text
    return answer.json()


def works(api: httpx.Client, api_key: str) -> bool:
    return api.get("/api/test", headers={"X-API-Key": api_key}).status_code == 200


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_new_key_works_at_once_and_knows_itself(api: httpx.Client, partner: Connected) -> None:
    key = made(api, partner.key, name="build server", scopes=["read:orders"])
    tested = api.get("/api/test", headers={"X-API-Key": key["api_key"]}).json()
    assert tested.items() >= {"partner_id": partner.id, "key_id": key["key_id"], "scopes": ["read:orders"]}.items()
    assert key["api_key"].startswith(key["key_id"] + "_")
    assert len(key["api_key"]) == 70


def test_both_ways_to_show_a_key_work_and_the_scheme_is_case_insensitive(api: httpx.Client, partner: Connected) -> None:
    ways = [{"Authorization": f"bearer {partner.api_key}"}, {"x-api-key": partner.api_key}]
    assert [api.get("/api/test", headers=way).status_code for way in ways] == [200, 200]


def test_without_scopes_a_new_key_has_those_of_the_key_that_made_it(api: httpx.Client, partner: Connected) -> None:
    narrow = made(api, partner.key, scopes=["write:events", "read:orders"])
    again = made(api, {"X-API-Key": narrow["api_key"]})
    assert again["scopes"] == ["read:orders", "write:events"]


def test_an_admin_makes_keys_for_a_partner_and_for_the_house(
    api: httpx.Client, admin: Headers, partner: Connected
) -> None:
    assert made(api, admin, partner_id=partner.id).items() >= {"partner_id": partner.id}.items()
    house = made(api, admin, scopes=["read:*", "write:events"])
    assert house["partner_id"] is None
    refused(api.get("/api/partners", headers={"X-API-Key": house["api_key"]}), 403, "admin_only")


@pytest.mark.parametrize(
    ("held", "asked", "granted"),
    [
        ("read:*", "read:orders", True),
        ("read:*", "read:*", True),
        ("read:*", "write:orders", False),
        ("read:orders", "read:*", False),
        ("read:orders", "read:inventory", False),
        ("write:orders", "read:orders", False),
        ("write:*", "admin", False),
        ("read:*", "proxy:00000000-0000-0000-0000-000000000000", False),
    ],
)
def test_a_key_grants_only_what_it_holds(
    api: httpx.Client, connect: Connect, held: str, asked: str, granted: bool
) -> None:
    partner = connect(scopes=[held])
    answer = api.post("/api/keys", json={"name": "x", "scopes": [asked]}, headers=partner.key)
    if granted:
        assert answer.json()["scopes"] == [asked]
    else:
        assert pointers(refused(answer, 422, "scope_not_held")) == ["/scopes/0"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["read:Orders"]}, "/scopes/0"),
        ({"scopes": ["read:*", ""]}, "/scopes/1"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "soon"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "/expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+12:00"}, "/expires_at"),
        ({"rate_limit_per_minute": 1_000_000}, "/rate_limit_per_minute"),
        ({"partner_id": "x"}, "/partner_id"),
        ({"key_id": "pk_live_mine"}, "/key_id"),
    ],
)
def test_a_wrong_key_wish_is_refused_where_it_is_wrong(
    api: httpx.Client, partner: Connected, change: Json, pointer: str
) -> None:
    problem = refused(api.post("/api/keys", json={"name": "x"} | change, headers=partner.key), 422)
    assert pointers(problem) == [pointer]


def test_a_key_ends_when_it_expires(api: httpx.Client, partner: Connected) -> None:
    key = made(api, partner.key, expires_at=soon(1))
    assert works(api, key["api_key"])
    eventually(lambda: not works(api, key["api_key"]), 3)
    refused(api.post(f"/api/keys/{key['key_id']}/rotate", headers=partner.key), 409)


# ── Change ───────────────────────────────────────────────────────────────────────────────────────


def test_other_scopes_hold_from_the_next_request_on(api: httpx.Client, partner: Connected) -> None:
    key = made(api, partner.key, scopes=["read:orders", "write:orders"])
    shown = {"X-API-Key": key["api_key"]}
    assert api.get("/api/test", headers=shown).json()["scopes"] == ["read:orders", "write:orders"]
    changed = api.patch(f"/api/keys/{key['key_id']}", json={"scopes": ["read:inventory"]}, headers=partner.key)
    assert changed.json().items() >= {"scopes": ["read:inventory"], "name": "another", "expires_at": None}.items()
    assert api.get("/api/test", headers=shown).json()["scopes"] == ["read:inventory"]
    refused(api.get("/api/v1/orders", headers=shown), 403, "insufficient_scope")


def test_a_limit_of_its_own_comes_and_goes_with_the_next_request(
    api: httpx.Client, admin: Headers, partner: Connected
) -> None:
    key = made(api, partner.key)
    shown, target = {"X-API-Key": key["api_key"]}, f"/api/keys/{key['key_id']}"
    before = api.get("/api/test", headers=shown).headers["x-ratelimit-limit"]
    for limit, told in (7, "7"), (None, before):
        changed = api.patch(target, json={"rate_limit_per_minute": limit}, headers=admin)
        assert changed.json()["rate_limit_per_minute"] == limit
        assert api.get("/api/test", headers=shown).headers["x-ratelimit-limit"] == told


def test_what_a_change_leaves_out_stays_and_null_ends_the_expiry(api: httpx.Client, partner: Connected) -> None:
    key = made(api, partner.key, scopes=["read:orders"], expires_at=soon(3600))
    target = f"/api/keys/{key['key_id']}"
    renamed = api.patch(target, json={"name": "renamed"}, headers=partner.key).json()
    assert (renamed["name"], renamed["scopes"]) == ("renamed", ["read:orders"])
    assert renamed["expires_at"] == key["expires_at"]
    assert api.patch(target, json={"expires_at": None}, headers=partner.key).json()["expires_at"] is None


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"scopes": ["admin"]}, "/scopes/0"),
        ({"scopes": ["read:orders", "write:events"]}, "/scopes/1"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": None}, "/scopes"),
        ({"name": None}, "/name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"rate_limit_per_minute": 1_000_000}, "/rate_limit_per_minute"),
        ({"rate_limit_per_minute": None}, "/rate_limit_per_minute"),
        ({"partner_id": None}, "/partner_id"),
    ],
)
def test_a_key_grants_itself_nothing_by_a_change(
    api: httpx.Client, connect: Connect, change: Json, pointer: str
) -> None:
    partner = connect(scopes=["read:*"])
    problem = refused(api.patch(f"/api/keys/{partner.key_id}", json=change, headers=partner.key), 422)
    assert pointers(problem) == [pointer]


def test_only_a_living_key_of_ones_own_can_be_changed(api: httpx.Client, partner: Connected, other: Connected) -> None:
    key = made(api, partner.key)
    target = f"/api/keys/{key['key_id']}"
    refused(api.patch(target, json={"name": "mine"}, headers=other.key), 404)
    api.delete(target, headers=partner.key).raise_for_status()
    refused(api.patch(target, json={"name": "again"}, headers=partner.key), 409)


# ── Revoke and rotate ────────────────────────────────────────────────────────────────────────────


def test_a_revoked_key_is_refused_from_its_next_request_on(api: httpx.Client, partner: Connected) -> None:
    key = made(api, partner.key)
    assert works(api, key["api_key"])
    assert api.delete(f"/api/keys/{key['key_id']}", headers=partner.key).status_code == 204
    refused(api.get("/api/test", headers={"X-API-Key": key["api_key"]}), 401)
    assert works(api, partner.api_key)


def test_revoking_is_safe_to_repeat_and_shows_in_the_list(api: httpx.Client, partner: Connected) -> None:
    key = made(api, partner.key)
    path = f"/api/keys/{key['key_id']}"
    assert [api.delete(path, headers=partner.key).status_code for _ in range(2)] == [204, 204]
    listed = api.get("/api/keys", headers=partner.key).json()["keys"]
    assert next(each for each in listed if each["key_id"] == key["key_id"])["revoked_at"]
    refused(api.post(f"{path}/rotate", headers=partner.key), 409, "conflict")


def test_with_grace_both_keys_work_until_it_ends(api: httpx.Client, connect: Connect) -> None:
    partner = connect()
    rotated = api.post(f"/api/keys/{partner.key_id}/rotate", json={"grace_seconds": 1}, headers=partner.key)
    assert rotated.status_code == 201
    assert works(api, partner.api_key)
    assert works(api, rotated.json()["api_key"])
    eventually(lambda: not works(api, partner.api_key), 3)
    assert works(api, rotated.json()["api_key"])


@pytest.mark.parametrize("body", [{"grace_seconds": 0}, {}, None])
def test_without_grace_the_old_key_dies_at_once(api: httpx.Client, connect: Connect, body: Json | None) -> None:
    partner = connect()
    assert works(api, partner.api_key)
    rotated = (
        api.post(f"/api/keys/{partner.key_id}/rotate", json=body, headers=partner.key)
        if body is not None
        else (api.post(f"/api/keys/{partner.key_id}/rotate", headers=partner.key))
    )
    assert works(api, rotated.json()["api_key"])
    refused(api.get("/api/test", headers=partner.key), 401)


def test_a_rotated_key_keeps_its_rights(api: httpx.Client, partner: Connected) -> None:
    old = made(api, partner.key, name="n", scopes=["read:orders"], expires_at=soon(900))
    new = api.post(f"/api/keys/{old['key_id']}/rotate", headers=partner.key).json()
    same = ("name", "scopes", "partner_id", "expires_at", "rate_limit_per_minute")
    assert {name: new[name] for name in same} == {name: old[name] for name in same}


@pytest.mark.parametrize("seconds", [-1, 604_801, "60", 1.5])
def test_grace_is_bounded(api: httpx.Client, partner: Connected, seconds: object) -> None:
    path = f"/api/keys/{partner.key_id}/rotate"
    problem = refused(api.post(path, json={"grace_seconds": seconds}, headers=partner.key), 422)
    assert pointers(problem) == ["/grace_seconds"]


def test_a_narrow_key_cannot_become_a_wider_one_by_rotation(api: httpx.Client, partner: Connected) -> None:
    narrow = {"X-API-Key": made(api, partner.key, scopes=["read:orders"])["api_key"]}
    refused(api.post(f"/api/keys/{partner.key_id}/rotate", headers=narrow), 422, "scope_not_held")


# ── Others' keys ─────────────────────────────────────────────────────────────────────────────────


def test_another_partners_keys_do_not_exist(api: httpx.Client, partner: Connected, other: Connected) -> None:
    path = f"/api/keys/{partner.key_id}"
    refused(api.delete(path, headers=other.key), 404)
    refused(api.post(f"{path}/rotate", headers=other.key), 404)
    refused(api.post("/api/keys", json={"name": "x", "partner_id": partner.id}, headers=other.key), 404)
    refused(api.get("/api/keys", params={"partner_id": partner.id}, headers=other.key), 404)
    assert works(api, partner.api_key)
    listed = api.get("/api/keys", headers=other.key).json()["keys"]
    assert {key["partner_id"] for key in listed} == {other.id}


def test_the_houses_keys_are_not_a_partners_business(api: httpx.Client, admin: Headers, partner: Connected) -> None:
    house_key = made(api, admin, scopes=["read:*"])
    refused(api.delete(f"/api/keys/{house_key['key_id']}", headers=partner.key), 404)
    assert works(api, house_key["api_key"])


def test_a_house_key_that_is_no_admin_manages_no_keys(api: httpx.Client, admin: Headers, partner: Connected) -> None:
    house = {"X-API-Key": made(api, admin, scopes=["read:*", "write:*"])["api_key"]}
    refused(api.get("/api/keys", headers=house), 403, "admin_only")
    refused(api.post("/api/keys", json={"name": "x"}, headers=house), 403, "admin_only")
    refused(api.delete(f"/api/keys/{partner.key_id}", headers=house), 403, "admin_only")
    refused(api.get("/api/keys", params={"partner_id": partner.id}, headers=house), 404)


@pytest.mark.parametrize("key_id", ["pk_live_unknown00000", "x", "..%2f", "%F0%9F%92%A9"])
def test_an_unknown_key_id_is_not_found(api: httpx.Client, admin: Headers, key_id: str) -> None:
    refused(api.delete(f"/api/keys/{key_id}", headers=admin), 404, "not_found")


def test_the_list_never_shows_a_secret(api: httpx.Client, partner: Connected) -> None:
    made(api, partner.key)
    listed = api.get("/api/keys", headers=partner.key)
    assert all(key.keys().isdisjoint({"api_key", "key_hash", "secret"}) for key in listed.json()["keys"])
    assert partner.api_key not in listed.text
    assert "$2b$" not in listed.text
