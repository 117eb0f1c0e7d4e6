"""Requests a second, side by side: every contender in every round, so that noise meets them all alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from benchmarks import load
from benchmarks.express import ExpressApps
from benchmarks.figures import Bar, Findings, Plan, Row, Table, at_least, at_most, median, ms, spread, times, whole
from benchmarks.load import Load, Request
from benchmarks.world import World
from tests.services import Service

CONNECTIONS = 32
MOST_CALLERS = 200
WARM_SECONDS = 2
ORDERS = 20
LEAST_SECONDS = 3.0
"""A round of the original Express app: shorter, it would hardly get to its first answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    name: str
    title: str
    server: Callable[[], Service]
    requests: Callable[[], Sequence[Request]]

    def seconds(self, plan: Plan) -> float:
        return max(plan.seconds, LEAST_SECONDS) if self.name == "express" else plan.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    load: Load
    cpu: float
    """Seconds of processor time that the serving process took."""

    @property
    def cpu_us(self) -> float:
        """Microseconds of it per request: what others do on the machine hardly changes it."""
        return self.cpu / self.load.answers * 1e6


def contenders(world: World) -> Sequence[Contender]:
    express = ExpressApps(world)
    asking = [Request(path="/api/test", headers={"Authorization": f"Bearer {express.key}"})]

    def contender(
        name: str, title: str, server: Callable[[], Service], requests: Callable[[], Sequence[Request]]
    ) -> Contender:
        return Contender(name=name, title=title, server=server, requests=requests)

    def gateway() -> Service:
        return world.gateway

    return (
        contender("empty", "an empty function, same host", lambda: world.empty, lambda: [Request(path="/empty")]),
        contender("test", "`GET /api/test`, one warm key", gateway, lambda: one_key(world)),
        contender("watched", "the same, with telemetry", lambda: world.watched, lambda: one_key(world)),
        contender("test-100", "`GET /api/test`, 100 partners' keys", gateway, lambda: many_keys(world)),
        contender("cached", "`GET /api/v1/orders`, cached", gateway, lambda: orders(world)),
        contender("uncached", "`GET /api/v1/orders`, `no-cache`", gateway, lambda: orders(world, fresh=True)),
        contender("express", "Express, the original design", lambda: express.original, lambda: asking),
        contender("express-tuned", "Express, tuned by hand", lambda: express.tuned, lambda: asking),
    )


def one_key(world: World) -> Sequence[Request]:
    return [Request(path="/api/test", headers=world.busy_partner.key)]


def many_keys(world: World) -> Sequence[Request]:
    """Each key is proven once here: a hundred cold ones at once would be told to come back in a second."""
    for partner in world.partners:
        world.client.get("/api/test", headers=partner.key).raise_for_status()
    return [Request(path="/api/test", headers=partner.key) for partner in world.partners]


def orders(world: World, *, fresh: bool = False) -> Sequence[Request]:
    """A page of orders of the busy partner's, who has some at the backend."""
    key = world.busy_partner.key
    if not world.client.get("/api/v1/orders", headers=key).raise_for_status().json():
        for number in range(ORDERS):
            order = {"number": f"A-{number}", "total": 12.5, "currency": "EUR", "status": "new"}
            world.client.post("/api/v1/orders", json=order, headers=key).raise_for_status()
    return [Request(path="/api/v1/orders", headers=key | ({"Cache-Control": "no-cache"} if fresh else {}))]


def measure(world: World, plan: Plan) -> Findings:
    chosen = [contender for contender in contenders(world) if plan.wants(contender.name)]
    found = rounds(chosen, plan)
    table = Table(
        title="Requests a second",
        method=f"{CONNECTIONS} callers on kept connections, {plan.rounds} rounds of {plan.seconds:g} s, each contender "
        "once a round; medians of the rounds. One process serves; PostgreSQL and Valkey are the same for all. CPU is "
        "the serving process's own time per request, all its threads together. Once a minute the tuned Express app "
        "proves its key again, for all callers at once: a round that meets this has few answers, and the median "
        "leaves it out.",
        head=("what", "requests/s", "lowest to highest", "p50", "p95", "p99", "CPU", "of the empty one", "errors"),
        rows=[row(contender.title, found[contender.name], found.get("empty")) for contender in chosen],
    )
    return Findings(tables=[table], bars=bars(found))


def rounds(chosen: Sequence[Contender], plan: Plan) -> Mapping[str, list[Round]]:
    asked = [(contender, contender.server(), contender.requests()) for contender in chosen]
    for contender, server, requests in asked:
        once(server, requests, max(WARM_SECONDS, contender.seconds(plan)))
    found: dict[str, list[Round]] = {contender.name: [] for contender in chosen}
    for _ in range(plan.rounds):
        for contender, server, requests in asked:
            found[contender.name].append(once(server, requests, contender.seconds(plan)))
    return found


def once(server: Service, requests: Sequence[Request], seconds: float) -> Round:
    process = psutil.Process(server.process.pid)
    before = process.cpu_times()
    seen = load.run(server.url, requests, connections=CONNECTIONS, seconds=seconds)
    after = process.cpu_times()
    return Round(load=seen, cpu=after.user + after.system - before.user - before.system)


def row(title: str, found: Sequence[Round], empty: Sequence[Round] | None) -> Row:
    speeds = [each.load.per_second for each in found]
    share = times(ratio(found, empty)) if empty else ""
    faults = told([each.load for each in found])
    return (title, whole(median(speeds)), spread(speeds), *waits(found), cpu(found), share, faults)


def waits(found: Sequence[Round]) -> Row:
    """p50, p95 and p99, each the median of the rounds."""
    return [ms(median([getattr(each.load, name) for each in found])) for name in ("p50", "p95", "p99")]


def cpu(found: Sequence[Round]) -> str:
    return f"{whole(median([each.cpu_us for each in found]))} µs"


def told(loads: Sequence[Load]) -> str:
    """The errors by kind, added up; `0` when there were none."""
    kinds = {kind for each in loads for kind in each.faults}
    return ", ".join(f"{kind}: {sum(each.faults.get(kind, 0) for each in loads)}" for kind in sorted(kinds)) or "0"


def ratio(these: Sequence[Round], those: Sequence[Round]) -> float:
    """The median of the rounds' own ratios: what slows a whole round down cancels out."""
    return median([this.load.per_second / that.load.per_second for this, that in zip(these, those, strict=True)])


def bars(found: Mapping[str, Sequence[Round]]) -> Sequence[Bar]:
    held = (
        ("`/api/test` against an empty function", "test", "empty", 0.40, 0.60),
        ("a cached read against an empty function", "cached", "empty", 0.35, None),
        ("`/api/test` with telemetry against without", "watched", "test", 0.95, None),
        ("`/api/test` against the original design's Express app", "test", "express", 100, None),
        ("`/api/test` against that Express app tuned by hand", "test", "express-tuned", 0.5, 1.0),
    )
    return [
        at_least(what, ratio(found[these], found[those]), bar, aim, times)
        for what, these, those, bar, aim in held
        if these in found and those in found
    ]


def measure_callers(world: World, plan: Plan) -> Findings:
    """Two hundred callers at full speed: how long the slowest of them wait."""
    requests = many_keys(world)
    load.run(world.gateway.url, requests, connections=CONNECTIONS, seconds=WARM_SECONDS)
    seen = load.run(world.gateway.url, requests, connections=MOST_CALLERS, seconds=plan.seconds * plan.rounds)
    faults = sum(seen.faults.values())
    table = Table(
        title="Two hundred callers at full speed",
        method=f"`GET /api/test` with the keys of 100 partners, {MOST_CALLERS} connections, no pause between "
        f"requests, {seen.seconds:.0f} s.",
        head=("requests/s", "p50", "p95", "p99", "errors"),
        rows=[(whole(seen.per_second), ms(seen.p50), ms(seen.p95), ms(seen.p99), told([seen]))],
    )
    waits = at_most("200 callers at full speed: p95", seen.p95, 100, ms)
    return Findings(tables=[table], bars=[waits, at_most("200 callers at full speed: errors", faults, 0, whole)])
