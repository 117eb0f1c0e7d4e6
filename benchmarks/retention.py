"""What requests notice while a million expired rows leave each of two tables."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import LiteralString

import httpx
import psycopg

from benchmarks.events import event
from benchmarks.figures import Findings, Plan, Table, at_most, ms, percentile, whole
from benchmarks.load import CannotMeasure
from benchmarks.world import World

ROWS = 1_000_000
RATES = {"GET /api/test": 50, "POST /api/events": 20}
"""Requests a second, whatever the answers take."""
QUIET_SECONDS = 10.0
MOST_MS = 100.0

FILL: Sequence[LiteralString] = (
    "SET synchronous_commit = off",
    """INSERT INTO idempotency_replies (tenant, route, key, fingerprint, status, headers, body_encrypted, expires_at)
       SELECT 't', 'POST api/events', n, sha256(n::text::bytea), 202, '{}', repeat('x', 200),
              now() - n * interval '10 milliseconds' FROM generate_series(1, %(rows)s) AS n""",
    """INSERT INTO outbox (kind, subject, not_before, created_at, done_at)
       SELECT 'event_type.put', 'evt_' || n, now(), now(), now() - interval '31 days' - n * interval '10 milliseconds'
       FROM generate_series(1, %(rows)s) AS n""",
    "VACUUM ANALYZE",
)

type Answers = Mapping[str, list[float]]


def measure(world: World, plan: Plan) -> Findings:
    key = world.busy_partner.key
    with psycopg.connect(world.settings["DATABASE_URL"], autocommit=True) as connection:
        for statement in FILL:
            connection.execute(statement, {"rows": ROWS} if "%(rows)s" in statement else None)
    quiet, busy, left, seconds = asyncio.run(watched(world.gateway.url, key, world.admin))
    if left < 2 * ROWS:
        raise CannotMeasure(f"only {left} of {2 * ROWS} rows left")
    table = Table(
        title="While a million expired rows leave",
        method=f"{ROWS:,} expired answers of Idempotency-Keys and {ROWS:,} old rows of the outbox leave by "
        f"`POST /api/timers/retention_clear/run`, {left / seconds:,.0f} a second for {seconds:.0f} s, while requests "
        "come at a steady rate; and the same requests before, with nothing to clear.",
        head=("what", "a second", "p50 quiet", "p50 meanwhile", "p95 quiet", "p95 meanwhile", "p99 meanwhile"),
        rows=[row(what, rate, quiet[what], busy[what]) for what, rate in RATES.items()],
    )
    bars = [
        at_most(f"`{what}` while a million rows leave: p95", percentile(busy[what], 0.95), MOST_MS, ms)
        for what in RATES
    ]
    return Findings(tables=[table], bars=bars)


def row(what: str, rate: int, quiet: list[float], busy: list[float]) -> Sequence[str]:
    p = percentile
    halves = (ms(p(quiet, 0.5)), ms(p(busy, 0.5)))
    return (f"`{what}`", whole(rate), *halves, ms(p(quiet, 0.95)), ms(p(busy, 0.95)), ms(p(busy, 0.99)))


async def watched(
    base_url: str, key: Mapping[str, str], admin: Mapping[str, str]
) -> tuple[Answers, Answers, int, float]:
    """Answers before and meanwhile, in milliseconds; how many rows left, and in how many seconds."""
    async with httpx.AsyncClient(base_url=base_url, timeout=300, trust_env=False) as client:
        await asked_until(client, key, asyncio.create_task(asyncio.sleep(2)))
        quiet = await asked_until(client, key, asyncio.create_task(asyncio.sleep(QUIET_SECONDS)))
        began = time.monotonic()
        clearing = asyncio.create_task(cleared(client, admin))
        busy = await asked_until(client, key, clearing)
        return quiet, busy, clearing.result(), time.monotonic() - began


async def cleared(client: httpx.AsyncClient, admin: Mapping[str, str]) -> int:
    total = 0
    while total < 2 * ROWS:
        answer = await client.post("/api/timers/retention_clear/run", headers=admin)
        done = answer.json()
        if done.get("result") != "ok" or not done["rows"]:
            raise CannotMeasure(f"retention_clear answered {answer.text[:200]}")
        total += done["rows"]
    return total


async def asked_until(client: httpx.AsyncClient, key: Mapping[str, str], end: asyncio.Task[object]) -> Answers:
    took: dict[str, list[float]] = {what: [] for what in RATES}

    async def ask(what: str) -> None:
        method, _, path = what.partition(" ")
        content = event("ord_1") if method == "POST" else None
        began = time.perf_counter()
        answer = await client.request(
            method, path, content=content, headers={**key, "Content-Type": "application/json"}
        )
        took[what].append((time.perf_counter() - began) * 1000)
        if answer.status_code >= 400:
            raise CannotMeasure(f"{what} answered {answer.status_code}: {answer.text[:200]}")

    async def steadily(what: str) -> None:
        began, number = time.perf_counter(), 0
        async with asyncio.TaskGroup() as asking:
            while not end.done():
                asking.create_task(ask(what))
                number += 1
                await asyncio.sleep(began + number / RATES[what] - time.perf_counter())

    await asyncio.gather(*(steadily(what) for what in RATES))
    await end
    return took
