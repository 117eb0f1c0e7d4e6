"""The books balance: the host is killed in mid-flight again and again, Svix fails one call in ten, nothing is lost.

PINKSYNC_LEDGER_EVENTS=10000 PINKSYNC_LEDGER_KILLS=30 is the whole of it (7 minutes on a busy machine);
by default it takes 25 seconds on an idle one.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event
from typing import LiteralString

import httpx
import psycopg
import pytest

from tests import services
from tests.functions.faults.books import asked, leases_are_over, ledger, order_faults
from tests.functions.stack import Connect, Connected, Json, Receiver, Stack, register
from tests.services import eventually

EVENTS = int(os.environ.get("PINKSYNC_LEDGER_EVENTS", "400"))
KILLS = int(os.environ.get("PINKSYNC_LEDGER_KILLS", "6"))
PARTNERS, PUBLISHERS = 4, 4
PATIENCE = 60 + EVENTS / 20
CROWD = 2000

SEND = {"routes": "POST /api/v1/app/{app_id}/msg"}
ONE_IN_TEN: Sequence[Json] = (
    SEND | {"hang_seconds": 30, "probability": 0.01, "times": 2, "seed": 1},
    SEND | {"accept_then_hang": 30, "probability": 0.01, "times": 2, "seed": 2},
    SEND | {"status": 500, "probability": 0.03, "seed": 3},
    SEND | {"status": 429, "headers": {"retry-after": "1"}, "probability": 0.03, "seed": 4},
    SEND | {"accept_then_status": 500, "probability": 0.04, "seed": 5},
)


# ── Killed in mid-flight ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Subscriber:
    partner: Connected
    receiver: Receiver
    endpoint_id: str


@dataclass(slots=True)
class Publishing:
    """Publishes every event until it is accepted, whoever dies meanwhile."""

    url: str
    subscribers: Sequence[Subscriber]
    stopped: Event = field(default_factory=Event)
    accepted: set[int] = field(default_factory=set[int])
    _next: Iterator[int] = field(default_factory=lambda: iter(range(EVENTS)))

    def work(self) -> None:
        """One publisher; `next` on a range is one step, so no two get the same number."""
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as client:
            for number in self._next:
                while not self.stopped.is_set() and not self.publish(client, number):
                    time.sleep(0.02)  # nobody there: until the host is back

    def publish(self, client: httpx.Client, number: int) -> bool:
        body = {"event_type": "order.created", "event_id": f"ledger-{number}", "payload": {"n": number}}
        try:
            answer = client.post("/api/events", json=body, headers=self.subscriber(number).partner.key)
        except httpx.TransportError:
            return False
        if answer.status_code == 202:
            self.accepted.add(number)
        return answer.status_code == 202

    def subscriber(self, number: int) -> Subscriber:
        return self.subscribers[number % len(self.subscribers)]

    def of(self, subscriber: Subscriber) -> set[int]:
        return {number for number in range(EVENTS) if self.subscriber(number) is subscriber}


def subscribe(api: httpx.Client, connect: Connect, stack: Stack) -> Subscriber:
    partner, receiver = connect(), Receiver(stack.partner_url)
    endpoint = register(api, partner.key, receiver)
    path = f"/api/webhooks/{endpoint['endpoint_id']}"
    eventually(lambda: api.get(path, headers=partner.key).json()["state"] == "registered")
    return Subscriber(partner, receiver, endpoint["endpoint_id"])


def kill_again_and_again(stack: Stack, publishing: Publishing) -> None:
    """Each time another share of the events is accepted, and some of them are just being sent."""
    for kill in range(1, KILLS + 1):
        share = EVENTS * kill // (KILLS + 1)
        eventually(lambda share=share: len(publishing.accepted) >= share, PATIENCE)
        stack.host.kill()
        nothing_is_half_done(stack)
        stack.host.start()


def nothing_is_half_done(stack: Stack) -> None:
    """Each event has its delivery and its debt, at every moment."""
    (row,) = asked(
        stack,
        """SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM webhook_deliveries),
                  (SELECT count(*) FROM outbox WHERE kind = 'event.send')""",
    )
    assert len(set(row)) == 1, row


def statuses(stack: Stack) -> dict[tuple[str, str], int]:
    """How many deliveries of each endpoint are in which state."""
    query = "SELECT endpoint_id, status, count(*) FROM webhook_deliveries GROUP BY 1, 2"
    return {(endpoint_id, status): many for endpoint_id, status, many in asked(stack, query)}


def test_killed_again_and_again_in_mid_flight_the_books_balance(
    api: httpx.Client, connect: Connect, stack: Stack, svix: services.Service
) -> None:
    publishing = Publishing(stack.url, [subscribe(api, connect, stack) for _ in range(PARTNERS)])
    order_faults(svix, *ONE_IN_TEN)
    with ThreadPoolExecutor(PUBLISHERS) as pool:
        publishers = [pool.submit(publishing.work) for _ in range(PUBLISHERS)]
        try:
            kill_again_and_again(stack, publishing)
            assert not wait(publishers, timeout=PATIENCE).not_done
        finally:
            publishing.stopped.set()
    for publisher in publishers:
        publisher.result()
    stack.host.kill()
    nothing_is_half_done(stack)
    leases_are_over(stack)
    stack.host.start()

    assert publishing.accepted == set(range(EVENTS))
    stored = [event_id for (event_id,) in asked(stack, "SELECT event_id FROM events")]
    assert Counter(stored) == Counter(f"ledger-{number}" for number in range(EVENTS))
    expected = {each.endpoint_id: len(publishing.of(each)) for each in publishing.subscribers}
    assert sum(statuses(stack).values()) == EVENTS
    delivered = {(endpoint_id, "delivered"): many for endpoint_id, many in expected.items()}
    eventually(lambda: statuses(stack) == delivered, PATIENCE)

    # Svix may have taken an event and not said so: it arrives at once, and its debt is settled a retry later.
    eventually(lambda: asked(stack, "SELECT count(*) FROM outbox WHERE done_at IS NULL") == [(0,)], PATIENCE)
    assert asked(stack, "SELECT count(*) FROM reviews") == [(0,)]
    balanced_at_svix(svix, publishing)
    for subscriber in publishing.subscribers:
        arrived_under_one_id(subscriber, publishing.of(subscriber))


def balanced_at_svix(svix: services.Service, publishing: Publishing) -> None:
    for subscriber in publishing.subscribers:
        many = len(publishing.of(subscriber))
        expected = {"messages": many, "event_ids": many, "attempts_succeeded": many, "pending": 0}
        assert ledger(svix, subscriber.partner).items() >= expected.items()


def arrived_under_one_id(subscriber: Subscriber, expected: set[int]) -> None:
    """Every event at least once, and none under two message ids."""
    received = subscriber.receiver.received()
    ids = {(json.loads(each["body"])["n"], each["headers"]["svix-id"]) for each in received}
    assert all(each["verified"] for each in received)
    assert sorted(number for number, _ in ids) == sorted(expected)


# ── To everyone ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def crowd(stack: Stack, svix: services.Service) -> Iterator[None]:
    """Two thousand active partners with an endpoint each, and some who get nothing. Svix is down meanwhile."""
    partners = """
        INSERT INTO partners (name, type, status, auth_method, deleted_at)
        SELECT 'crowd', 'vendor', status, 'api_key', CASE WHEN status = 'inactive' THEN now() END
        FROM (SELECT 'active' AS status FROM generate_series(1, %s)
              UNION ALL VALUES ('suspended'), ('pending'), ('inactive')) AS all_of_them"""
    endpoints = """
        INSERT INTO webhook_endpoints (endpoint_id, partner_id, url, events, state)
        SELECT 'ep_' || partner_id, partner_id, 'https://crowd.example/', '{order.created}', 'registered'
        FROM partners WHERE name = 'crowd'"""
    svix.kill()
    asked(stack, partners, CROWD)
    asked(stack, endpoints)
    yield
    asked(stack, "DELETE FROM partners WHERE name = 'crowd'")
    svix.start()


ROWS: LiteralString = """
SELECT (SELECT count(*) FROM events e WHERE e.event_id = %(id)s AND e.partner_id = p.partner_id),
       (SELECT count(*) FROM webhook_deliveries d WHERE d.event_id = %(id)s AND d.partner_id = p.partner_id),
       (SELECT count(*) FROM outbox o WHERE o.subject = %(id)s AND o.partner_id = p.partner_id AND kind = 'event.send'),
       count(*)
FROM partners p WHERE name = 'crowd' AND (status = 'active') = %(active)s GROUP BY 1, 2, 3
"""


@pytest.mark.usefixtures("crowd")
def test_a_broadcast_to_two_thousand_is_quick_and_each_gets_it_once(api: httpx.Client, stack: Stack) -> None:
    body = {"event_type": "order.created", "event_id": "to-everyone", "payload": {"n": 0}, "partner_id": "*"}
    for _ in range(2):
        answer = api.post("/api/events", json=body, headers=stack.admin)
        assert (answer.status_code, answer.json()) == (202, {"event_id": "to-everyone", "status": "accepted"})
        assert answer.elapsed.total_seconds() < 10
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        active, others = (
            connection.execute(ROWS, {"id": "to-everyone", "active": active}).fetchall() for active in (True, False)
        )
    assert active == [(1, 1, 1, CROWD)]
    assert others == [(0, 0, 0, 3)]
