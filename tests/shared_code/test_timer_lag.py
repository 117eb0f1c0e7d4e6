"""When a timer is late: two periods and a minute without a start; and what a schedule says comes next."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as any_

from shared_code.model import TimerState, ncrontab

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
S, M, H = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def lag(text: str, now: datetime, **state: object) -> timedelta:
    known = {"name": "relay", "known_since": AT - 30 * 24 * H}
    return TimerState(**known | state).lag(ncrontab.parse(text), now)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "period"), [("*/10 * * * * *", 10 * S), ("0 */5 * * * *", 5 * M), ("0 0 12 * * *", 24 * H)]
)
def test_it_is_late_after_two_periods_and_a_minute(text: str, period: timedelta) -> None:
    due = AT + 2 * period + M
    assert lag(text, due, last_start=AT, last_end=AT) == timedelta()
    assert lag(text, due + S, last_start=AT, last_end=AT) == S


def test_nights_off_make_nothing_late() -> None:
    """Weekdays at noon: from Friday on, the second slot is Tuesday's."""
    weekdays = "0 0 12 * * 1-5"
    assert lag(weekdays, AT + 96 * H, last_start=AT) == timedelta()
    assert lag(weekdays, AT + 96 * H + 2 * M, last_start=AT) == M


def test_one_that_never_ran_counts_from_when_it_was_first_known() -> None:
    assert lag("0 * * * * *", AT + 3 * M, known_since=AT) == timedelta()
    assert lag("0 * * * * *", AT + 4 * M, known_since=AT) == M


def test_a_long_run_is_not_late_until_it_is_longer_than_any_may_be() -> None:
    running = {"running": True, "last_start": AT, "last_end": AT - H}
    assert lag("* * * * * *", AT + 9 * M, **running) == timedelta()
    assert lag("* * * * * *", AT + 11 * M, **running) == M


def test_after_a_long_run_it_counts_from_the_end() -> None:
    assert lag("* * * * * *", AT + 9 * M + 30 * S, last_start=AT, last_end=AT + 9 * M) == timedelta()


def test_a_run_whose_process_died_is_late_like_any_other() -> None:
    assert lag("0 * * * * *", AT + 10 * M, last_start=AT, last_end=AT - M) == 7 * M


FIELD = {0: (0, 59), 1: (0, 59), 2: (0, 23)}


@settings(max_examples=150, deadline=None)
@given(
    fields=any_.tuples(*(any_.integers(0, high) | any_.none() for _, high in FIELD.values())),
    steps=any_.tuples(*(any_.integers(1, 30) for _ in FIELD)),
    start=any_.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=any_.just(UTC)),  # noqa: DTZ001
)
def test_the_next_time_is_the_first_second_that_fits(
    fields: tuple[int | None, ...], steps: tuple[int, ...], start: datetime
) -> None:
    words = [f"*/{step}" if value is None else str(value) for value, step in zip(fields, steps, strict=True)]
    schedule = ncrontab.parse(" ".join([*words, "*", "*", "*"]))
    found = schedule.after(start)
    assert found
    assert found > start
    assert schedule.matches(found)
    moment = start.replace(microsecond=0) + S
    for _ in range(min(3600, int((found - moment).total_seconds()))):
        assert not schedule.matches(moment)
        moment += S
