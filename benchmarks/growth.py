"""What the same questions cost at a million rows and at ten thousand."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import psycopg

from benchmarks.figures import Bar, Findings, Plan, Row, Table, at_most, median, ms, times
from benchmarks.growth_rows import BUSY, fill
from benchmarks.load import CannotMeasure
from benchmarks.world import World
from functions.replies import cursor
from shared_code.adapters.postgres_store import PostgresStore
from tests import services
from tests.functions.stack import first_admin
from tests.shared_servers import drop_database, in_database

FEW, MANY = 10_000, 1_000_000
ASKED = 40
"""How often each question is asked of each database, in turn."""
PAGE, HUNDREDTH = 50, 100
BATCH, LEASE = 50, timedelta(seconds=30)
MOST = 1.3

type Question = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Database:
    """One database of a given size, the gateway over it, and the keys to ask with."""

    rows: int
    store: PostgresStore
    client: httpx.AsyncClient
    admin: Mapping[str, str] = field(repr=False)
    partner: Mapping[str, str] = field(repr=False)
    deep: str
    """The cursor that begins the hundredth page of the deliveries."""

    def questions(self) -> Mapping[str, Question]:
        return {
            "key check: the key's row and its partner's": self.read_key,
            "first page of the partners": partial(self.get, "/api/partners", self.admin),
            "first page of a partner's deliveries": partial(self.get, "/api/webhooks/deliveries", self.partner),
            "its hundredth page, by cursor": partial(
                self.get, f"/api/webhooks/deliveries?cursor={self.deep}", self.partner
            ),
            "claim of 50 items from the outbox": self.claim,
        }

    async def read_key(self) -> None:
        """What a check reads of a key that is not in the cache; bcrypt, which does not grow, left out."""
        async with self.store.reading() as reading:
            key = await reading.keys.get(f"pk_live_{random.randint(1, self.rows):012}")
            if key is None or key.partner_id is None or not await reading.partners.get(key.partner_id):
                raise CannotMeasure("a key or its partner is missing in the filled database")

    async def get(self, path: str, headers: Mapping[str, str]) -> None:
        answer = await self.client.get(path, headers=headers)
        if answer.status_code != 200:
            raise CannotMeasure(f"GET {path} at {self.rows:,} rows answered {answer.status_code}: {answer.text[:200]}")

    async def claim(self) -> None:
        async with self.store.transaction() as transaction:
            if len(await transaction.outbox.claim(datetime.now(UTC), LEASE, BATCH)) != BATCH:
                raise CannotMeasure("the filled outbox has nothing left to claim")


def measure(world: World, plan: Plan) -> Findings:
    with ExitStack() as closing:
        few, many = asyncio.run(asked([prepared(world, rows, closing) for rows in (FEW, MANY)]))
    held = [(what, median(few[what]), median(many[what])) for what in few]
    table = Table(
        title="Growth",
        method=f"{MANY:,} partners with a key each and {MANY:,} deliveries of one partner, against {FEW:,} of each; "
        f"each question {ASKED} times, the two databases in turn; medians. The lists are asked for over HTTP, the "
        "rest of the store.",
        head=("what", f"{FEW:,} rows", f"{MANY:,} rows", "ratio"),
        rows=[row(*each) for each in held],
    )
    return Findings(tables=[table], bars=[bar(*each) for each in held])


def prepared(world: World, rows: int, closing: ExitStack) -> Database:
    """Filled, with a host of its own whose timers leave the outbox alone. It is gone when `closing` closes."""
    name = f"rows_{rows}"
    url = world.new_database(name)
    closing.callback(drop_database, world.postgres.url, name)
    fill(url, rows)
    idle = {f"AzureWebJobs__{timer}__Disabled": "true" for timer in ("outbox_relay", "delivery_reconcile")}
    redis_url = in_database(world.valkey.url, str(rows % services.REDIS_DATABASES))
    settings = {**world.settings, **idle, "DATABASE_URL": url, "REDIS_URL": redis_url}
    host = closing.enter_context(services.start_host(world.folder / name, settings))
    admin = {"Authorization": f"Bearer {first_admin(settings)}"}
    client = httpx.AsyncClient(base_url=host.url, timeout=30, trust_env=False)
    return Database(rows, PostgresStore(url), client, admin, busy_key(host.url, admin), hundredth_page(url))


def busy_key(base_url: str, admin: Mapping[str, str]) -> Mapping[str, str]:
    """A key of the partner that has all the deliveries."""
    wanted = {"name": "bench", "partner_id": str(BUSY)}
    minted = httpx.post(f"{base_url}/api/keys", json=wanted, headers=dict(admin), trust_env=False)
    if minted.status_code != 201:
        raise CannotMeasure(f"no key for the filled partner: {minted.status_code} {minted.text[:200]}")
    return {"Authorization": f"Bearer {minted.json()['api_key']}"}


def hundredth_page(url: str) -> str:
    """Made from the rows, as `next_cursor` of the 99th page would be: nobody walks there a hundred times."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT created_at, id FROM webhook_deliveries ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET %s",
            (PAGE * (HUNDREDTH - 1) - 1,),
        ).fetchone()
    return cursor(found) or ""


async def asked(databases: Sequence[Database]) -> Sequence[Mapping[str, list[float]]]:
    """Milliseconds of each answer, by question; one list of answers per database."""
    took: list[dict[str, list[float]]] = [{what: [] for what in database.questions()} for database in databases]
    for number in range(ASKED + 2):
        for database, answers in zip(databases, took, strict=True):
            for what, question in database.questions().items():
                began = time.perf_counter()
                await question()
                if number >= 2:  # the first ones warm the caches
                    answers[what].append((time.perf_counter() - began) * 1000)
    for database in databases:
        await database.store.close()
        await database.client.aclose()
    return took


def row(what: str, few: float, many: float) -> Row:
    return (what, ms(few), ms(many), times(many / few))


def bar(what: str, few: float, many: float) -> Bar:
    return at_most(f"{what}, at {MANY:,} rows against {FEW:,}", many / few, MOST, times)
