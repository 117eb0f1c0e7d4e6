"""Sync jobs in PostgreSQL: claimed with SKIP LOCKED, held by a lease, written under a fence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, Where, jsonb, listing
from shared_code.model import ErrorClass, Job, JobStatus, JobType, Leave, Listing, Page, Step
from shared_code.ports import JobFilter

COLUMNS = """job_id, partner_id, job_type, resource, status, progress_percent, records_processed, records_total,
  records_failed, records_changed, records_deleted, error_message, error_class, not_before, attempt, fence,
  lease_until, checkpoint, created_by, request_id, started_at, completed_at, created_at"""
HELD = "job_id = %(job_id)s AND fence = %(fence)s AND status = 'running'"


@dataclass(frozen=True, slots=True)
class PostgresSyncJobs:
    connection: Connection

    async def add(self, job: Job) -> bool:
        added = await self.connection.execute(
            """INSERT INTO sync_jobs (job_id, partner_id, job_type, resource, not_before, created_by, request_id,
                                      created_at)
               VALUES (%(job_id)s, %(partner_id)s, %(job_type)s, %(resource)s, %(not_before)s, %(created_by)s,
                       %(request_id)s, %(created_at)s)
               ON CONFLICT (partner_id, job_type, coalesce(resource, '')) WHERE status IN ('pending', 'running')
               DO NOTHING""",
            asdict(job),
        )
        return added.rowcount == 1

    async def get(self, job_id: UUID) -> Job | None:
        return await self._one(f"SELECT {COLUMNS} FROM sync_jobs WHERE job_id = %(job_id)s", job_id=job_id)  # noqa: S608

    async def active(self, partner_id: UUID, job_type: JobType, resource: str | None) -> Job | None:
        return await self._one(
            f"""SELECT {COLUMNS} FROM sync_jobs
                WHERE partner_id = %(partner_id)s AND job_type = %(job_type)s
                  AND coalesce(resource, '') = coalesce(%(resource)s, '') AND status IN ('pending', 'running')""",  # noqa: S608 - literals only
            partner_id=partner_id,
            job_type=job_type,
            resource=resource,
        )

    async def list(self, wanted: JobFilter, page: Page) -> Listing[Job]:
        where = (
            Where()
            .when("partner_id = %(partner_id)s", partner_id=wanted.partner_id)
            .when("status = %(status)s", status=wanted.status)
            .when("job_type = %(job_type)s", job_type=wanted.job_type)
            .when("resource = %(resource)s", resource=wanted.resource)
        )
        return await listing(self.connection, COLUMNS, "sync_jobs", where, page, from_row)

    async def claim(self, now: datetime, lease: timedelta) -> Job | None:
        return await self._one(
            f"""WITH free AS MATERIALIZED (
                  SELECT id FROM sync_jobs j
                  WHERE status IN ('pending', 'running') AND not_before <= %(now)s
                    AND (lease_until IS NULL OR lease_until < %(now)s)
                    AND NOT EXISTS (
                      SELECT FROM sync_jobs earlier
                      WHERE earlier.partner_id = j.partner_id AND earlier.resource = j.resource AND earlier.id < j.id
                        AND earlier.status IN ('pending', 'running'))
                  ORDER BY not_before, id LIMIT 1 FOR UPDATE SKIP LOCKED)
                UPDATE sync_jobs SET status = 'running', fence = nextval('sync_fences'), attempt = attempt + 1,
                  lease_until = %(until)s, heartbeat_at = %(now)s, started_at = coalesce(started_at, %(now)s)
                FROM free WHERE sync_jobs.id = free.id RETURNING {COLUMNS}""",  # noqa: S608 - literals only
            now=now,
            until=now + lease,
        )

    async def beat(self, job: Job, until: datetime) -> bool:
        beaten = await self.connection.execute(
            f"UPDATE sync_jobs SET lease_until = %(until)s, heartbeat_at = now() WHERE {HELD}",  # noqa: S608 - literals only
            {"job_id": job.job_id, "fence": job.fence, "until": until},
        )
        return beaten.rowcount == 1

    async def advance(self, job: Job, step: Step, until: datetime) -> Job | None:
        return await self._one(
            f"""UPDATE sync_jobs SET
                  records_processed = records_processed + %(processed)s,
                  records_failed = records_failed + %(failed)s,
                  records_changed = records_changed + %(changed)s,
                  records_deleted = records_deleted + %(deleted)s,
                  records_total = coalesce(%(total)s, records_total),
                  progress_percent = %(progress)s, checkpoint = %(checkpoint)s, attempt = 0,
                  error_class = NULL, error_message = NULL, lease_until = %(until)s, heartbeat_at = now()
                WHERE {HELD} RETURNING {COLUMNS}""",  # noqa: S608 - literals only
            job_id=job.job_id,
            fence=job.fence,
            processed=step.processed,
            failed=step.failed,
            changed=step.changed,
            deleted=step.deleted,
            total=step.total,
            progress=step.progress_percent,
            checkpoint=jsonb(step.checkpoint),
            until=until,
        )

    async def leave(self, job: Job, leave: Leave, now: datetime) -> bool:
        left = await self.connection.execute(
            f"""UPDATE sync_jobs SET status = %(status)s, not_before = %(not_before)s, lease_until = NULL,
                  attempt = CASE WHEN %(progressed)s THEN 0 ELSE attempt END,
                  error_class = %(error_class)s, error_message = %(error_message)s,
                  completed_at = CASE WHEN %(status)s IN ('completed', 'failed') THEN %(now)s END,
                  progress_percent = CASE WHEN %(status)s = 'completed' THEN 100 ELSE progress_percent END,
                  records_total = CASE WHEN %(status)s = 'completed' THEN records_processed ELSE records_total END
                WHERE {HELD}""",  # noqa: S608 - literals only
            {**asdict(leave), "status": leave.status.value, "now": now, "job_id": job.job_id, "fence": job.fence},
        )
        return left.rowcount == 1

    async def cancel(self, job_id: UUID, now: datetime) -> bool:
        cancelled = await self.connection.execute(
            """UPDATE sync_jobs SET status = 'cancelled', completed_at = %s, lease_until = NULL
               WHERE job_id = %s AND status IN ('pending', 'running')""",
            (now, job_id),
        )
        return cancelled.rowcount == 1

    async def cancel_all(self, partner_id: UUID, now: datetime) -> int:
        cancelled = await self.connection.execute(
            """UPDATE sync_jobs SET status = 'cancelled', completed_at = %s, lease_until = NULL
               WHERE partner_id = %s AND status IN ('pending', 'running')""",
            (now, partner_id),
        )
        return cancelled.rowcount

    async def _one(self, statement: str, **values: Any) -> Job | None:
        found = await self.connection.execute(statement.encode(), values)
        row = await found.fetchone()
        return from_row(row) if row else None


def from_row(row: Mapping[str, Any]) -> Job:
    values = {name: value for name, value in row.items() if name != "id"}
    return Job(
        **values
        | {
            "job_type": JobType(row["job_type"]),
            "status": JobStatus(row["status"]),
            "error_class": ErrorClass(row["error_class"]) if row["error_class"] else None,
            "progress_percent": float(row["progress_percent"]),
        }
    )
