"""Who may read and write business resources, for whom, and where a path leads."""

from uuid import uuid4

import httpx
import pytest

from tests.functions.resources.backend import INVENTORY, ORDERS, Gateway, Xano, cache_uses
from tests.functions.stack import Connected, as_it_is, refused


def test_reading_and_writing_each_need_their_scope(gateway: Gateway):
    reader = gateway.connect(scopes=["read:orders"])
    assert gateway.api.get(ORDERS, headers=reader.key).status_code == 200
    problem = refused(gateway.api.get(INVENTORY, headers=reader.key), 403, "insufficient_scope")
    assert (problem["required_scope"], "read:inventory" in problem["detail"]) == ("read:inventory", True)
    for method, path in ("POST", ORDERS), ("PUT", f"{ORDERS}/1"), ("PATCH", f"{ORDERS}/1"), ("DELETE", f"{ORDERS}/1"):
        problem = refused(gateway.api.request(method, path, headers=reader.key), 403, "insufficient_scope")
        assert problem["required_scope"] == "write:orders"
    for method in "GET", "POST":
        refused(gateway.api.request(method, "/api/v1/customers", headers=reader.key), 404, "not_found")


def test_writing_does_not_include_reading(gateway: Gateway):
    writer = gateway.connect(scopes=["write:*"])
    assert gateway.api.post(ORDERS, json={"number": "A-1"}, headers=writer.key).status_code == 200
    assert refused(gateway.api.get(ORDERS, headers=writer.key), 403)["required_scope"] == "read:orders"


@pytest.mark.parametrize("resource", ["customers", "ORDERS", "order", "orders%2F1", "_devstack", ".."])
def test_a_resource_that_is_not_listed_is_not_found_and_the_backend_is_not_asked(
    api: httpx.Client, partner: Connected, xano: Xano, resource: str
):
    refused(api.get(f"/api/v1/{resource}", headers=partner.key), 404)
    refused(api.post(f"/api/v1/{resource}", json={}, headers=partner.key), 404)
    assert xano.asked(partner) == []


@pytest.mark.parametrize("item", ["%2e%2e", "%2E", "..%2Finventory", "%2e%2e%2finventory", "1%2F..%2F..%2Finventory"])
def test_an_id_stays_one_segment_whatever_it_says(api: httpx.Client, partner: Connected, xano: Xano, item: str):
    assert as_it_is(str(api.base_url), f"{ORDERS}/{item}", partner.key) in (400, 404)
    assert not [each for each in xano.asked(partner) if not each["path"].startswith("/api:business/orders/")]


@pytest.mark.parametrize(
    "target", ["?a=\xe9", "/1?a=\xe9\xff", "?a=\x7f", "?a=%00%ff", "/%00", "/%ff", "?" + "x" * 70_000]
)
def test_no_spelling_of_a_path_or_query_is_too_much(api: httpx.Client, partner: Connected, target: str):
    assert as_it_is(str(api.base_url), ORDERS + target, partner.key) < 500


def test_a_key_of_the_house_must_name_the_partner_it_acts_for(gateway: Gateway, partner: Connected, xano: Xano):
    for header in ({}, {"X-Partner-Id": ""}, {"X-Partner-Id": "corner-shop"}):
        assert "X-Partner-Id" in refused(gateway.api.get(ORDERS, headers=gateway.admin | header), 400)["detail"]
    nobody = gateway.admin | {"X-Partner-Id": str(uuid4())}
    refused(gateway.api.get(ORDERS, headers=nobody), 404, "not_found")
    refused(gateway.api.post(ORDERS, json={"number": "A-1"}, headers=nobody), 404, "not_found")
    acting = gateway.admin | {"X-Partner-Id": partner.id}
    cache_uses(gateway.api, partner, ORDERS)
    assert gateway.api.post(ORDERS, json={"number": "A-1"}, headers=acting).status_code == 200
    assert xano.rows(partner)[0]["partner_id"] == partner.id
    assert cache_uses(gateway.api, partner, ORDERS) == ["MISS"]
    for _ in range(2):
        read = gateway.api.get(ORDERS, headers=acting)
        assert (read.headers["x-cache"], len(read.json())) == ("BYPASS", 1)


def test_a_key_of_the_house_that_is_no_admin_acts_for_nobody(gateway: Gateway, partner: Connected):
    body = {"name": "reporting", "scopes": ["read:*", "write:*"]}
    made = gateway.api.post("/api/keys", json=body, headers=gateway.admin).json()
    acting = {"X-API-Key": made["api_key"], "X-Partner-Id": partner.id}
    refused(gateway.api.get(ORDERS, headers=acting), 404)
    refused(gateway.api.post(ORDERS, json={"number": "A-1"}, headers=acting), 404)
