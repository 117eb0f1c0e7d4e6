"""Events: how many are accepted a second, and how soon they are at the partner's endpoint."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import psycopg

from benchmarks import load
from benchmarks.figures import Findings, Plan, Table, at_least, at_most, median, ms, percentile, whole
from benchmarks.load import CannotMeasure, Request
from benchmarks.throughput import CONNECTIONS, Round, cpu, once, told, waits
from benchmarks.world import World
from tests.functions.stack import Connected, Receiver, register

RATE = 100
"""Events a second, for the time they take to arrive."""
PATIENCE = 30.0
DRAIN_SECONDS = 15.0
"""How long a backlog is watched."""
EVENT_TYPE = "order.created"


def event(order_id: str) -> bytes:
    payload = {"order_id": order_id, "total": 12.5, "currency": "EUR"}
    return json.dumps({"event_type": EVENT_TYPE, "payload": payload}).encode()


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A partner with one endpoint at the example partner's receiver."""

    partner: Connected
    receiver: Receiver


def subscribed(world: World, name: str) -> Subscriber:
    partner = world.connected(name)
    receiver = Receiver(world.partner.url)
    register(world.client, partner.key, receiver, EVENT_TYPE)
    return Subscriber(partner, receiver)


def measure_delivery(world: World, plan: Plan) -> Findings:
    """From the publisher's request to the receiver's clock, at a steady rate."""
    subscriber = subscribed(world, "Listener")
    count = round(RATE * plan.seconds * plan.rounds)
    asyncio.run(publish_steadily(world.gateway.url, subscriber.partner.key, count=RATE // 2, name="warm"))
    sent = asyncio.run(publish_steadily(world.gateway.url, subscriber.partner.key, count=count, name="bench"))
    arrived = arrivals(subscriber.receiver, sent)
    took = [(at - sent[order_id]) / timedelta(milliseconds=1) for order_id, at in arrived.items()]
    p50, p95, p99 = (percentile(took, part) for part in (0.50, 0.95, 0.99))
    table = Table(
        title="From publishing to the partner's endpoint",
        method=f"{count} events at {RATE} a second: from the moment `POST /api/events` is sent to the moment the "
        "example partner's receiver notes the verified webhook, through the gateway, its outbox and the Svix stand-in.",
        head=("p50", "p95", "p99", "longest", "not arrived"),
        rows=[(ms(p50), ms(p95), ms(p99), ms(max(took)), whole(count - len(took)))],
    )
    lost = at_most("events that did not arrive", count - len(took), 0, whole)
    return Findings(tables=[table], bars=[at_most("publish → partner's endpoint at 100/s: p95", p95, 250, ms), lost])


async def publish_steadily(base_url: str, key: Mapping[str, str], *, count: int, name: str) -> dict[str, datetime]:
    """When each order's event was sent. A slow answer holds up none of those after it."""
    sent: dict[str, datetime] = {}
    headers = {**key, "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, timeout=PATIENCE, limits=limits, trust_env=False
    ) as client:

        async def publish(order_id: str) -> None:
            sent[order_id] = datetime.now(UTC)
            answer = await client.post("/api/events", content=event(order_id))
            if answer.status_code != 202:
                raise CannotMeasure(f"POST /api/events answered {answer.status_code}: {answer.text[:200]}")

        began = time.perf_counter()
        async with asyncio.TaskGroup() as publishing:
            for number in range(count):
                await asyncio.sleep(began + number / RATE - time.perf_counter())
                publishing.create_task(publish(f"{name}-{number}"))
    return sent


def arrivals(receiver: Receiver, sent: Mapping[str, datetime]) -> dict[str, datetime]:
    """When each order's event came, as soon as all have, or as many as did within PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    came: dict[str, datetime] = {}
    while len(came) < len(sent) and time.monotonic() < deadline:
        time.sleep(0.5)
        for each in receiver.verified():
            came.setdefault(json.loads(each["body"])["order_id"], datetime.fromisoformat(each["at"]))
        came = {order_id: at for order_id, at in came.items() if order_id in sent}
    if not came:
        raise CannotMeasure("no event arrived at the example partner")
    return came


def measure_publishing(world: World, plan: Plan) -> Findings:
    """As fast as it goes; then how fast the outbox pays its debt."""
    subscriber = subscribed(world, "Publisher")
    headers = {**subscriber.partner.key, "Content-Type": "application/json"}
    requests = [Request(method="POST", path="/api/events", headers=headers, body=event("ord_1"))]
    load.run(world.gateway.url, requests, connections=CONNECTIONS, seconds=1)
    drain(world)
    rounds: list[Round] = []
    drained: list[float] = []
    for _ in range(max(1, plan.rounds - 2)):
        rounds.append(once(world.gateway, requests, plan.seconds))
        drained.append(drain(world))
    speed = median([each.load.per_second for each in rounds])
    table = Table(
        title="Events accepted",
        method=f"`POST /api/events` from {CONNECTIONS} callers, {len(rounds)} rounds of {plan.seconds:g} s; each is a "
        "durable transaction, and the relay sends what it can to the Svix stand-in meanwhile. The backlog is what is "
        "left to send after a round; its rate counts the sending alone.",
        head=("accepted/s", "p50", "p95", "p99", "CPU", "errors", "backlog sent/s"),
        rows=[
            (whole(speed), *waits(rounds), cpu(rounds), told([each.load for each in rounds]), whole(median(drained)))
        ],
    )
    return Findings(tables=[table], bars=[at_least("events accepted a second", speed, 1000, show=whole)])


def drain(world: World) -> float:
    """Waits until the outbox owes nothing, but not for long: items a second on the way there."""
    began, first = time.monotonic(), owed(world)
    left = first
    while left and time.monotonic() - began < DRAIN_SECONDS:
        time.sleep(0.25)
        left = owed(world)
    return (first - left) / max(time.monotonic() - began, 0.001)


def owed(world: World) -> int:
    with psycopg.connect(world.settings["DATABASE_URL"]) as connection:
        found = connection.execute("SELECT count(*) FROM outbox WHERE done_at IS NULL AND buried_at IS NULL").fetchone()
    return found[0] if found else 0
