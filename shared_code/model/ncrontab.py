"""NCRONTAB, the schedule language of timer triggers: `{sec} {min} {hour} {day} {month} {weekday}` (facts section 3).

The timers' ledger and the devstack's Functions host both read schedules here. Two things differ from Unix cron: a
day must satisfy BOTH the day field and the weekday field, and `a/n` means "from a on, every n". Five fields are
taken as seconds = 0, as the extension does.
"""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
# A 29 February on a given weekday comes back after 40 years at most (2096 to 2136, over the year 2100).
_HORIZON_DAYS = 41 * 366


class BadSchedule(ValueError):
    """Not an NCRONTAB expression; the host refuses to start such a timer."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Sorted values per field; weekdays count from Sunday = 0. All times are UTC."""

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    def matches(self, moment: datetime) -> bool:
        return self._on_day(moment.date()) and (
            moment.hour in self.hours and moment.minute in self.minutes and moment.second in self.seconds
        )

    def after(self, moment: datetime) -> datetime | None:
        """The first whole second later than `moment` (aware) that fits; None when there is none, as on 30 February."""
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        earliest = start.time()
        for offset in range(_HORIZON_DAYS):
            day = start.date() + timedelta(days=offset)
            if not self._on_day(day):
                continue
            found = self._time_from(earliest if offset == 0 else time())
            if found is not None:
                return datetime.combine(day, found, UTC)
        return None

    def fires_more_often_than_once_a_minute(self) -> bool:
        return len(self.seconds) > 1

    def _on_day(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _time_from(self, earliest: time) -> time | None:
        """The first time of day that fits and is not before `earliest`."""
        for hour in _from(self.hours, earliest.hour):
            same_hour = hour == earliest.hour
            for minute in _from(self.minutes, earliest.minute if same_hour else 0):
                same_minute = same_hour and minute == earliest.minute
                for second in _from(self.seconds, earliest.second if same_minute else 0):
                    return time(hour, minute, second)
        return None


def parse(text: str) -> Schedule:
    words = text.split()
    if len(words) == 5:
        words.insert(0, "0")
    if len(words) != 6:
        raise BadSchedule(f"the schedule '{text}' is not NCRONTAB: it has {len(words)} fields, not six")
    values = [_values(word, field, text) for word, field in zip(words, _FIELDS, strict=True)]
    seconds, minutes, hours, days, months, weekdays = values
    return Schedule(
        text=text, seconds=seconds, minutes=minutes, hours=hours, days=days, months=months, weekdays=weekdays
    )


def _from(values: tuple[int, ...], low: int) -> tuple[int, ...]:
    return values[bisect_left(values, low) :]


def _values(word: str, field: _Field, text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({value for item in word.split(",") for value in _item(item, field)}))
    except ValueError as problem:
        raise BadSchedule(f"the schedule '{text}' is not NCRONTAB: {field.name} '{word}' {problem}") from None


def _item(item: str, field: _Field) -> range:
    """`*`, `5`, `mon`, `1-5`, `*/10`, `3/10` or `1-30/5`; a range written backwards is turned round."""
    span, slash, step_text = item.partition("/")
    step = int(step_text) if step_text.isdecimal() else 0 if slash else 1
    if step < 1:
        raise ValueError("has a step that is not a positive number")
    if span == "*":
        return range(field.low, field.high + 1, step)
    first, dash, last = span.partition("-")
    low = _value(first, field)
    high = _value(last, field) if dash else field.high if slash else low
    return range(min(low, high), max(low, high) + 1, step)


def _value(word: str, field: _Field) -> int:
    if word.isdecimal():
        value = int(word)
    else:
        starting = [i for i, name in enumerate(field.words) if word and name.startswith(word.lower())]
        value = starting[0] + field.low if starting else -1
    if not field.low <= value <= field.high:
        raise ValueError(f"is outside {field.low} to {field.high}")
    return value
