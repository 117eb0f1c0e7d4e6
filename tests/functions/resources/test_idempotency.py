"""Idempotency-Key on business resources."""

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.functions.resources.backend import ORDERS, Gateway, Xano
from tests.functions.stack import Connected, refused
from tests.services import eventually


def test_the_same_post_again_gets_the_stored_answer(api: httpx.Client, partner: Connected, xano: Xano):
    once = partner.key | {"Idempotency-Key": "order-1"}
    first, again = (api.post(ORDERS, json={"number": "A-1"}, headers=once) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert "idempotency-replayed" not in first.headers
    refused(api.post(ORDERS, json={"number": "A-2"}, headers=once), 422, "idempotency_key_reused")
    assert len(xano.rows(partner)) == 1
    assert [each["headers"]["idempotency-key"] for each in xano.asked(partner)] == ["order-1"]


def test_partners_may_use_the_same_idempotency_key(gateway: Gateway, partner: Connected, xano: Xano):
    other = gateway.connect()
    for each in (partner, other):
        made = gateway.api.post(ORDERS, json={"number": "A-1"}, headers=each.key | {"Idempotency-Key": "order-1"})
        assert made.json()["partner_id"] == each.id


def test_a_failure_is_not_stored_under_the_idempotency_key(api: httpx.Client, partner: Connected, xano: Xano):
    once = partner.key | {"Idempotency-Key": "order-1"}
    xano.fails(status=502, html=True, times=1)
    refused(api.post(ORDERS, json={"number": "A-1"}, headers=once), 503)
    again = api.post(ORDERS, json={"number": "A-1"}, headers=once)
    assert (again.status_code, "idempotency-replayed" in again.headers) == (200, False)


def test_one_idempotency_key_of_the_house_for_two_partners_is_two_requests(
    gateway: Gateway, partner: Connected, xano: Xano
):
    other = gateway.connect()
    acting = gateway.admin | {"Idempotency-Key": f"for-{partner.id}"}
    first = gateway.api.post(ORDERS, json={"number": "A-1"}, headers=acting | {"X-Partner-Id": partner.id})
    second = gateway.api.post(ORDERS, json={"number": "A-1"}, headers=acting | {"X-Partner-Id": other.id})
    assert first.json()["partner_id"] == partner.id
    assert second.status_code == 422 or second.json()["partner_id"] == other.id


def test_slow_posts_with_idempotency_keys_do_not_keep_others_from_the_database(
    gateway: Gateway, partner: Connected, xano: Xano
):
    gateway.api.get("/api/test", headers=partner.key).raise_for_status()
    xano.fails(latency_ms=3500)

    def post(number: int) -> httpx.Response:
        headers = partner.key | {"Idempotency-Key": f"order-{number}"}
        return gateway.api.post(ORDERS, json={"number": f"A-{number}"}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        posts = [pool.submit(post, number) for number in range(8)]
        eventually(lambda: len(xano.asked(partner)) >= 4)
        other = gateway.api.get("/api/partners", headers=gateway.admin)
        for each in posts:
            each.result()
    assert other.status_code == 200
