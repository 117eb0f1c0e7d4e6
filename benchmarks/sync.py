"""Syncs: records a second from the example partner into the Xano stand-in, and what memory they take."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import httpx
import psutil

from benchmarks.figures import Findings, Plan, Table, at_least, at_most, median, times, whole
from benchmarks.load import CannotMeasure
from benchmarks.world import World

RECORDS = 100_000
FEW, MANY = 10_000, 1_000_000
WANTED = 5_000
"""Records a second."""
FLAT = 1.2
"""How much more memory many records may take than few."""
THOROUGH = 5
"""Rounds of a run that is not quick."""
SLOWEST = 500
"""Records a second below which a sync is taken for stuck."""
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Synced:
    seconds: float
    """Between the job's start and its end, as the job itself says."""
    peak: float
    """MiB that the gateway's process held at most."""

    @property
    def shown(self) -> str:
        return f"{self.peak:,.0f} MiB"


def measure(world: World, plan: Plan) -> Findings:
    thorough = plan.rounds >= THOROUGH
    few = synced(world, FEW)
    runs = [synced(world, RECORDS) for _ in range(3 if thorough else 1)]
    many_records = MANY if thorough else RECORDS
    many = synced(world, MANY) if thorough else runs[-1]
    rate = median([RECORDS / run.seconds for run in runs])
    rows = [(whole(FEW), whole(FEW / few.seconds), few.shown)]
    rows += [(whole(RECORDS), whole(RECORDS / run.seconds), run.shown) for run in runs]
    rows += [(whole(MANY), whole(MANY / many.seconds), many.shown)] if thorough else []
    table = Table(
        title="Full sync",
        method="A new partner's orders from the example partner's API, by cursor and 1,000 a page, into the Xano "
        "stand-in, each page landed, counted and remembered in PostgreSQL. Timed from the job's own start to its end; "
        "memory is the most that the gateway's process held meanwhile.",
        head=("records", "records/s", "memory"),
        rows=rows,
    )
    flat = f"memory of a full sync of {many_records:,} records against {FEW:,}"
    return Findings(
        tables=[table],
        bars=[
            at_least(f"full sync of {RECORDS:,} records: records/s", rate, WANTED, show=whole),
            at_most(flat, many.peak / few.peak, FLAT, times),
        ],
    )


def synced(world: World, records: int) -> Synced:
    """One full sync of so many records, all new."""
    httpx.put(f"{world.partner.url}/_devstack/seed", json={"orders": records}, timeout=60).raise_for_status()
    credentials = {"api_key": world.partner.secret}
    partner = world.connected("Synced", api_endpoint=f"{world.partner.url}/api", credentials=credentials)
    wanted = {"job_type": "full_sync", "resource": "orders"}
    started = world.client.post("/api/sync/jobs", json=wanted, headers=partner.key)
    if started.status_code != 202:
        raise CannotMeasure(f"POST /api/sync/jobs answered {started.status_code}: {started.text[:200]}")
    job, peak = watched(world, started.headers["Location"], partner.key, 30 + records / SLOWEST)
    if (job["status"], job["records_processed"]) != ("completed", records):
        raise CannotMeasure(f"the sync ended so: {job}")
    took = datetime.fromisoformat(job["completed_at"]) - datetime.fromisoformat(job["started_at"])
    return Synced(took.total_seconds(), peak / MIB)


def watched(world: World, location: str, key: Mapping[str, str], patience: float) -> tuple[Mapping[str, str], int]:
    """The job as it ended, and the most memory that the gateway held until then."""
    process, peak = psutil.Process(world.gateway.process.pid), 0
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        peak = max(peak, process.memory_info().rss)
        job = world.client.get(location, headers=dict(key)).json()
        if job["status"] not in ("pending", "running"):
            return job, peak
        time.sleep(0.1)
    raise CannotMeasure(f"the sync took more than {patience:.0f} s")
