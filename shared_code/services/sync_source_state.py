"""What a source knows after a run: its cursor, its validators, and how often it failed in a row."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared_code.model import Job, JobType, Source
from shared_code.services.sync_progress import Progress
from shared_code.services.sync_records import Mark, mark_in, text_of


def since_of(job: Job, source: Source) -> str | None:
    """From where on an incremental run asks for changes: the boundary itself is asked for again."""
    rule = source.reading.cursor
    if rule is None or job.job_type is not JobType.INCREMENTAL_SYNC:
        return None
    mark = mark_in(source.cursor, rule)
    if mark is None or not rule.lag_seconds:
        return text_of(mark)
    lag = timedelta(seconds=rule.lag_seconds)
    return text_of(mark - lag if isinstance(mark, datetime) else mark - rule.lag_seconds)


def completed(source: Source, job: Job, progress: Progress, now: datetime) -> Source:
    return replace(
        source,
        cursor=text_of(cursor_after(source, progress)),
        validators=source.validators if progress.unchanged else progress.validators or {},
        last_full_at=now if job.job_type is JobType.FULL_SYNC else source.last_full_at,
        streak=0,
        failing_since=None,
        updated_at=now,
    )


def cursor_after(source: Source, progress: Progress) -> Mark | None:
    """The highest mark that was seen, but no time after the run began, by the partner's clock: a record that
    changed behind the reader's back may have a lower mark than one that was read later. It never moves back.
    """
    rule = source.reading.cursor
    before, highest = mark_in(source.cursor, rule), mark_in(progress.highest, rule)
    if isinstance(highest, datetime) and progress.clock:
        highest = min(highest, datetime.fromisoformat(progress.clock).astimezone(UTC))
    if before is None or highest is None:
        return before if highest is None else highest
    return max(before, highest)  # pyright: ignore[reportArgumentType] - a source's marks are all of one kind


def failed(source: Source, now: datetime) -> Source:
    failing = replace(source, streak=source.streak + 1, failing_since=source.failing_since or now, updated_at=now)
    return replace(failing, next_run_at=failing.next_after(now))


def worn_out(source: Source, failures: int, days: int, now: datetime) -> bool:
    """Whether it has failed so often, for so long, that only a person can help."""
    lasting = source.failing_since is not None and source.failing_since + timedelta(days=days) <= now
    return source.streak >= failures and lasting
