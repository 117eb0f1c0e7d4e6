"""A backend that is gone: the circuit, and answers that are stale."""

import time

import httpx

from tests.functions.resources.backend import INVENTORY, ORDERS, Gateway, Xano, cache_uses
from tests.functions.stack import Connected, refused
from tests.services import eventually


def test_the_circuit_opens_refuses_at_once_and_closes_again(
    gateway: Gateway, api: httpx.Client, partner: Connected, xano: Xano
):
    xano.fails(status=502, html=True)
    for _ in range(5):
        refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 503)
    before = len(xano.asked(partner))
    took: list[float] = []
    for _ in range(10):
        began = time.monotonic()
        answered = api.get(ORDERS, headers=partner.key)
        took.append(time.monotonic() - began)
        refused(answered, 503, "backend_unavailable")
        assert int(answered.headers["retry-after"]) >= 1
    assert min(took) < 0.2
    assert len(xano.asked(partner)) == before
    assert api.get("/api/test", headers=partner.key).status_code == 200

    xano.is_well()
    gateway.forget_circuits("resting")  # its fifteen seconds are over
    assert api.get(ORDERS, headers=partner.key).status_code == 200
    assert [api.get(f"{ORDERS}?page={page}", headers=partner.key).status_code for page in (1, 2, 3)] == [200] * 3


def test_an_open_circuit_lets_one_probe_through_and_rests_again_when_it_fails(
    gateway: Gateway, api: httpx.Client, partner: Connected, xano: Xano
):
    xano.fails(status=502, html=True)
    for _ in range(5):
        api.post(ORDERS, json={"number": "A-1"}, headers=partner.key)
    gateway.forget_circuits("resting")
    before = len(xano.asked(partner))
    for _ in range(5):
        refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 503)
    assert len(xano.asked(partner)) - before == 1


def test_refusals_of_single_requests_do_not_open_the_circuit(api: httpx.Client, partner: Connected, xano: Xano):
    for _ in range(8):
        refused(api.post(ORDERS, json={"number": None}, headers=partner.key), 400)
    xano.fails(status=500, times=8)
    for _ in range(8):
        refused(api.post(ORDERS, json={"number": "A-1"}, headers=partner.key), 502)
    assert api.get(ORDERS, headers=partner.key).status_code == 200


def test_with_xano_killed_kept_reads_are_served_stale_and_only_misses_fail(
    gateway: Gateway, api: httpx.Client, partner: Connected, xano: Xano
):
    xano.add(partner, number="A-1")
    before = api.get(ORDERS, headers=partner.key)
    fresh = api.get(f"{ORDERS}?page=1", headers=partner.key)
    xano.service.kill()
    try:
        assert api.get(f"{ORDERS}?page=1", headers=partner.key).headers["x-cache"] == "HIT"
        gateway.age_kept_answers()
        stale = api.get(ORDERS, headers=partner.key)
        assert (stale.status_code, stale.headers["x-cache"], stale.content) == (200, "STALE", before.content)
        known = api.get(f"{ORDERS}?page=1", headers=partner.key | {"If-None-Match": fresh.headers["etag"]})
        assert (known.status_code, known.headers["x-cache"]) == (304, "STALE")
        for _ in range(5):
            refused(api.delete(f"{INVENTORY}/1", headers=partner.key), 503, "backend_unavailable")
        refused(api.get(INVENTORY, headers=partner.key), 503, "backend_unavailable")
        assert cache_uses(api, partner, ORDERS) == ["STALE"]
        assert api.get("/api/test", headers=partner.key).status_code == 200
    finally:
        xano.service.start()
    gateway.forget_circuits("resting")
    assert eventually(lambda: api.get(INVENTORY, headers=partner.key).status_code == 200)
    assert cache_uses(api, partner, ORDERS) == ["MISS"]
