"""Long work shows itself: a line in the console for every sync that takes a while, and one when it has ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row

SECONDS_BETWEEN = 2.0
JOBS = """
SELECT job_id, job_type, resource, name AS partner, j.status, records_processed AS processed, records_total AS total,
       progress_percent AS percent, records_failed AS failed, error_message AS error,
       extract(epoch FROM coalesce(completed_at, now()) - started_at) AS seconds
FROM sync_jobs j JOIN partners USING (partner_id)
WHERE j.status = 'running' OR job_id = ANY (%s) ORDER BY j.id LIMIT 20"""


class Job(NamedTuple):
    job_id: UUID
    job_type: str
    resource: str | None
    partner: str
    status: str
    processed: int
    total: int | None
    percent: float
    failed: int
    error: str | None
    seconds: float | None

    @property
    def line(self) -> str:
        what = f"{self.job_type} of {self.resource}" if self.resource else self.job_type
        return f"{what} for {self.partner}: {self.standing}"

    @property
    def standing(self) -> str:
        done = f"{self.processed:,}" + (f" of {self.total:,} records" if self.total else " records")
        if self.status == "running":
            return f"{done} ({self.percent:.0f} %), {self.error or self.speed}"
        aside = f", {self.failed:,} of them in quarantine" if self.failed else ""
        return f"{self.status}, {done}{aside}, {self.error or self.speed}"

    @property
    def speed(self) -> str:
        return f"{self.processed / max(float(self.seconds or 0), 0.1):,.0f}/s"


@dataclass(slots=True)
class JobWatch:
    database_url: str = field(repr=False)
    say: Callable[[str, str], None]
    told: dict[UUID, str] = field(default_factory=dict[UUID, str])
    """What was said last of each job that runs."""
    next_look: float = 0.0

    def look(self, now: float) -> None:
        """Says what changed since the last look, a moment ago. While the database is away there is nothing to say."""
        if now < self.next_look:
            return
        self.next_look = now + SECONDS_BETWEEN
        try:
            self.tell(self.jobs())
        except psycopg.Error:
            return

    def jobs(self) -> Sequence[Job]:
        with (
            psycopg.connect(self.database_url, autocommit=True, connect_timeout=2) as connection,
            connection.cursor(row_factory=class_row(Job)) as cursor,
        ):
            return cursor.execute(JOBS, (list(self.told),)).fetchall()

    def tell(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if self.told.get(job.job_id) != job.line:
                self.say("sync", job.line)
            self.told[job.job_id] = job.line
            if job.status != "running":
                del self.told[job.job_id]
