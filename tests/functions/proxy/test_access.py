"""Who may call a partner through the gateway, and which partner can be called."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.functions.stack import Connect, Connected, Headers, proxy, refused
from tests.shop import Shop


def key_with(api: httpx.Client, admin: Headers, *scopes: str, partner: Connected | None = None) -> Headers:
    body = {"name": "proxy key", "scopes": list(scopes)} | ({"partner_id": partner.id} if partner else {})
    made = api.post("/api/keys", json=body, headers=admin)
    assert made.status_code == 201, made.text
    return {"X-API-Key": made.json()["api_key"]}


def test_only_an_admin_or_the_scope_for_this_partner_may_call(
    api: httpx.Client, admin: Headers, connect: Connect, partner: Connected, shop: Shop
):
    other = connect()
    scope = f"proxy:{partner.id}"
    allowed = [admin, key_with(api, admin, scope), key_with(api, admin, scope, "read:orders", partner=other)]
    denied = [
        partner.key,
        other.key,
        key_with(api, admin, "read:*", "write:*"),
        key_with(api, admin, f"proxy:{other.id}", partner=other),
    ]
    assert [api.get(proxy(partner), headers=key).status_code for key in allowed] == [200] * 3
    for key in denied:
        problem = refused(api.get(proxy(partner), headers=key), 403, "insufficient_scope")
        assert problem["required_scope"] == scope
    refused(api.get(proxy(partner)), 401, "unauthorized")
    assert len(shop.asked()) == 3


def test_the_scope_counts_however_the_partner_is_spelled(
    api: httpx.Client, admin: Headers, connect: Connect, partner: Connected, shop: Shop
):
    key = key_with(api, admin, f"proxy:{connect().id}")
    spelled = [partner.id.upper(), partner.id.replace("-", ""), f"{{{partner.id}}}", f"urn:uuid:{partner.id}"]
    assert [api.get(f"/api/proxy/{each}/orders", headers=key).status_code for each in spelled] == [403] * 4
    assert shop.asked() == []


@pytest.mark.parametrize("partner_id", [uuid4(), "corner-shop", "*", "%2e%2e"])
def test_a_partner_that_is_not_there_is_not_found(api: httpx.Client, admin: Headers, partner_id: Any):
    refused(api.get(f"/api/proxy/{partner_id}/orders", headers=admin), 404)


def test_a_partner_that_cannot_be_called_is_a_conflict(
    api: httpx.Client, admin: Headers, connect: Connect, partner: Connected, shop: Shop
):
    refused(api.get(proxy(connect()), headers=admin), 409, "conflict")
    pending = connect(api_endpoint=shop.endpoint, auth_method="oauth2")
    assert "OAuth" in refused(api.get(proxy(pending), headers=admin), 409, "conflict")["detail"]
    for move in ("suspend", "deactivate"):
        api.post(f"{partner.path}/{move}", headers=admin).raise_for_status()
        refused(api.get(proxy(partner), headers=admin), 409, "conflict")
    api.post(f"{partner.path}/activate", headers=admin).raise_for_status()
    assert api.get(proxy(partner), headers=admin).status_code == 200
    api.delete(partner.path, headers=admin).raise_for_status()
    refused(api.get(proxy(partner), headers=admin), 404)
    assert len(shop.asked()) == 1
