"""The line that long work has in the console."""

from uuid import uuid4

import psycopg

from devstack.jobs import SECONDS_BETWEEN, JobWatch

JOB = """
WITH shop AS (INSERT INTO partners (name, type, auth_method) VALUES ('Acme', 'vendor', 'api_key') RETURNING partner_id)
INSERT INTO sync_jobs (job_id, partner_id, job_type, resource, status, records_processed, records_total,
                       progress_percent, started_at)
SELECT %s, partner_id, 'full_sync', 'orders', 'running', 4000, 10000, 40, now() - interval '2 s' FROM shop"""


def test_a_sync_that_runs_has_a_line_that_changes_and_a_last_one(database_url: str) -> None:
    said: list[str] = []
    watch = JobWatch(database_url, lambda _, text: said.append(text))
    job_id, ends = uuid4(), "UPDATE sync_jobs SET status = 'failed', error_message = 'It is gone.' WHERE job_id = %s"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(JOB, (job_id,))
        watch.look(SECONDS_BETWEEN)
        watch.look(SECONDS_BETWEEN + 0.1)  # too soon to look again
        connection.execute(ends, (job_id,))
        watch.look(2 * SECONDS_BETWEEN)
        watch.look(3 * SECONDS_BETWEEN)
    assert len(said) == 2
    assert said[0].startswith("full_sync of orders for Acme: 4,000 of 10,000 records (40 %), ")
    assert said[1] == "full_sync of orders for Acme: failed, 4,000 of 10,000 records, It is gone."


def test_without_a_database_there_is_nothing_to_say() -> None:
    said: list[str] = []
    JobWatch("postgresql://127.0.0.1:9/nowhere", lambda _, text: said.append(text)).look(SECONDS_BETWEEN)
    assert said == []
