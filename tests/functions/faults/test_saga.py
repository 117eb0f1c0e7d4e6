"""Accepted means stored: what was answered 202 arrives once, whatever is killed or fails on the way."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from tests import services
from tests.functions.faults.books import asked, leases_are_over, ledger, order_faults
from tests.functions.stack import Connected, Json, Receiver, Stack, connecting, publish, refused, register
from tests.services import eventually, web

SEND = "POST /api/v1/app/{app_id}/msg"
OPEN = "POST /api/v1/app/{app_id}/endpoint"
NOW = [f"{OPEN}/{{endpoint_id}}/secret/rotate", f"{OPEN}/{{endpoint_id}}/send-example"]
"""What is asked of Svix while the caller waits."""


@pytest.fixture(autouse=True)
def healed(stack: Stack, svix: services.Service) -> Iterator[None]:
    """After each test all is well again, and nothing is owed to Svix any more."""
    yield
    if not svix.process.alive():
        svix.start()
    web.delete(f"{svix.url}/_devstack/faults").raise_for_status()
    eventually(lambda: owed(stack) == 0)


def owed(stack: Stack) -> int:
    [(many,)] = asked(stack, "SELECT count(*) FROM outbox WHERE done_at IS NULL AND buried_at IS NULL")
    return many


def numbers(receiver: Receiver) -> Counter[int]:
    """How often each event came, by the number in its payload."""
    return Counter(json.loads(each["body"])["n"] for each in receiver.verified())


def burst(api: httpx.Client, partner: Connected, count: int) -> set[int]:
    """Publishes events 0 to count; those that were answered 202."""
    api.get("/api/test", headers=partner.key)  # a key's first proof is slow, and bounded

    def one(number: int) -> int | None:
        body = {"event_type": "order.created", "payload": {"n": number}, "event_id": f"burst-{number}"}
        with suppress(httpx.TransportError):
            return number if api.post("/api/events", json=body, headers=partner.key).status_code == 202 else None

    with ThreadPoolExecutor(8) as pool:
        return {number for number in pool.map(one, range(count)) if number is not None}


def all_arrived_once(receiver: Receiver, expected: set[int], seconds: float = 30) -> bool:
    eventually(lambda: numbers(receiver).keys() >= expected, seconds)
    return set(numbers(receiver).values()) == {1}


def all_delivered(api: httpx.Client, partner: Connected) -> bool:
    deliveries = api.get("/api/webhooks/deliveries", params={"limit": 200}, headers=partner.key).json()["deliveries"]
    return {delivery["status"] for delivery in deliveries} == {"delivered"}


# ── Svix is killed ───────────────────────────────────────────────────────────────────────────────


def test_while_svix_is_down_everything_is_accepted_and_arrives_when_it_is_back(
    api: httpx.Client, stack: Stack, svix: services.Service, partner: Connected
) -> None:
    first, second = Receiver(stack.partner_url), Receiver(stack.partner_url)
    svix.kill()
    newcomer = connecting(api, stack.admin)(webhook_events=["order.created"], webhook_url=first.url)
    assert newcomer.answer["webhook_status"] == "pending"
    assert newcomer.answer["endpoint_id"]
    first.tell(secret=newcomer.answer["webhook_secret"])
    assert register(api, partner.key, second)["state"] == "pending"
    for who in (newcomer, partner):
        assert burst(api, who, 10) == set(range(10))
    assert api.get("/api/ready").status_code == 200
    listed = api.get("/api/webhooks/deliveries", headers=partner.key).json()["deliveries"]
    assert {delivery["status"] for delivery in listed} == {"pending"}

    svix.start()
    for who, receiver in ((newcomer, first), (partner, second)):
        assert all_arrived_once(receiver, set(range(10)))
        eventually(lambda who=who: all_delivered(api, who))
        assert ledger(svix, who).items() >= {"messages": 10, "event_ids": 10, "pending": 0}.items()
        (webhook,) = api.get(f"{who.path}/webhooks", headers=who.key).json()["webhooks"]
        assert webhook["state"] == "registered"


def test_svix_killed_in_the_middle_of_a_burst_takes_every_event_once(
    api: httpx.Client, svix: services.Service, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    with ThreadPoolExecutor(1) as background:
        publishing = background.submit(burst, api, partner, 40)
        eventually(lambda: ledger(svix, partner).get("messages", 0) >= 3)
        svix.kill()
        assert publishing.result() == set(range(40))
    svix.start()
    eventually(lambda: numbers(receiver).keys() == set(range(40)))
    eventually(lambda: ledger(svix, partner).items() >= {"messages": 40, "event_ids": 40, "pending": 0}.items())


def test_a_removed_partner_is_removed_from_svix_once_it_is_back(
    api: httpx.Client, stack: Stack, svix: services.Service, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    assert ledger(svix, partner)
    svix.kill()
    assert api.delete(partner.path, headers=stack.admin).status_code == 204
    assert api.get("/api/test", headers=partner.key).status_code == 401
    svix.start()
    eventually(lambda: not ledger(svix, partner))


# ── The host is killed ───────────────────────────────────────────────────────────────────────────


def test_a_host_killed_right_after_its_202s_loses_nothing_and_sends_nothing_twice(
    api: httpx.Client, stack: Stack, svix: services.Service, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    order_faults(svix, {"accept_then_hang": 5, "routes": SEND, "probability": 0.3, "seed": 7})
    accepted = burst(api, partner, 50)
    stack.host.kill()
    assert accepted == set(range(50))
    order_faults(svix)
    leases_are_over(stack)
    stack.host.start()
    assert all_arrived_once(receiver, accepted)
    eventually(lambda: all_delivered(api, partner))
    assert ledger(svix, partner).items() >= {"messages": 50, "event_ids": 50, "attempts_failed": 0}.items()


def test_a_host_killed_in_the_middle_of_a_burst_keeps_what_it_accepted(
    api: httpx.Client, stack: Stack, svix: services.Service, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    with ThreadPoolExecutor(1) as background:
        publishing = background.submit(burst, api, partner, 60)
        eventually(lambda: ledger(svix, partner).get("messages", 0) >= 3)
        stack.host.kill()
        accepted = publishing.result()
    assert 3 <= len(accepted) < 60
    leases_are_over(stack)
    stack.host.start()
    assert all_arrived_once(receiver, accepted)
    again = burst(api, partner, 60)
    assert all_arrived_once(receiver, again)
    assert len(again) == 60


# ── Svix fails ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 429, "headers": {"retry-after": "1"}},
        {"status": 401},
        {"status": 404},
        {"status": 502, "body": "<html>Bad Gateway</html>"},
        {"status": 200, "body": "{}"},
        {"accept_then_status": 500},
        {"accept_then_status": 202, "body": "not JSON"},
    ],
    ids=str,
)
def test_whatever_svix_answers_nothing_is_lost_and_nothing_doubled(
    api: httpx.Client, svix: services.Service, partner: Connected, receiver: Receiver, fault: Json
) -> None:
    register(api, partner.key, receiver)
    order_faults(svix, fault | {"routes": SEND, "times": 3})
    assert burst(api, partner, 6) == set(range(6))
    assert all_arrived_once(receiver, set(range(6)))
    assert ledger(svix, partner).items() >= {"messages": 6, "event_ids": 6}.items()


def test_a_svix_that_hangs_holds_up_nobody_and_loses_nothing(
    api: httpx.Client, svix: services.Service, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    hang = {"routes": SEND, "times": 1}
    order_faults(svix, hang | {"hang_seconds": 30}, hang | {"accept_then_hang": 30})
    assert burst(api, partner, 4) == set(range(4))
    assert max(api.get("/api/test", headers=partner.key).elapsed.total_seconds() for _ in range(5)) < 5
    assert all_arrived_once(receiver, set(range(4)))
    assert ledger(svix, partner)["messages"] == 4


@pytest.mark.parametrize("action", ["rotate-secret", "test"])
def test_what_needs_svix_now_says_that_it_failed_and_when_to_ask_again(
    api: httpx.Client, svix: services.Service, partner: Connected, receiver: Receiver, action: str
) -> None:
    path = f"/api/webhooks/{register(api, partner.key, receiver)['endpoint_id']}/{action}"
    order_faults(svix, {"status": 503, "routes": NOW})
    unavailable = api.post(path, json={}, headers=partner.key)
    refused(unavailable, 503, "webhook_service_unavailable")
    assert int(unavailable.headers["retry-after"]) >= 1
    order_faults(svix, {"status": 422, "routes": NOW})
    refused(api.post(path, json={}, headers=partner.key), 502, "upstream_failed")


def test_an_event_that_svix_never_takes_is_for_a_person_and_holds_up_no_other(
    api: httpx.Client, stack: Stack, svix: services.Service, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    order_faults(svix, {"status": 422, "routes": SEND, "times": 1})
    never = publish(api, partner.key, payload={"n": -1})
    eventually(lambda: owed(stack) == 0)
    assert burst(api, partner, 3) == {0, 1, 2}
    assert all_arrived_once(receiver, {0, 1, 2})
    assert -1 not in numbers(receiver)
    reviews = api.get("/api/reviews", headers=stack.admin).json()["reviews"]
    assert [review["partner_id"] for review in reviews if never in review["reason"]] == [partner.id]


@pytest.mark.parametrize("fault", [{"status": 503}, {"accept_then_status": 500}, {"status": 502, "body": "<html>"}])
def test_an_endpoint_is_opened_once_however_svix_answers(
    api: httpx.Client, svix: services.Service, partner: Connected, receiver: Receiver, fault: Json
) -> None:
    order_faults(svix, fault | {"routes": OPEN, "times": 2})
    assert register(api, partner.key, receiver)["state"] == "pending"
    assert burst(api, partner, 2) == {0, 1}
    assert all_arrived_once(receiver, {0, 1})
    (webhook,) = api.get(f"{partner.path}/webhooks", headers=partner.key).json()["webhooks"]
    assert webhook["state"] == "registered"
