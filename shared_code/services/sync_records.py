"""From a partner's records to ours: the natural key, the mapped members, a hash of what lands, the cursor.

Pure rules, no I/O. A record that breaks one is told apart, with a reason, and the others go on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import cast

import orjson

from shared_code.model import CursorKind, CursorRule, Json, Reading

LONGEST_KEY = 200
LARGEST = 2**63
LONGEST_SHOWN = 2000
type Mark = datetime | int
"""A position of the cursor: a time, or a number."""


@dataclass(frozen=True, slots=True)
class Good:
    key: str
    body: Json
    """As it lands, with `external_id`."""
    hash: bytes


@dataclass(frozen=True, slots=True)
class Bad:
    key: str | None
    reason: str
    record: object


@dataclass(slots=True)
class Sorted:
    """One page's records. Of two good ones with one key the later counts."""

    good: dict[str, Good] = field(default_factory=dict[str, Good])
    bad: list[Bad] = field(default_factory=list[Bad])
    highest: Mark | None = None


class Unfit(Exception):
    """The record breaks a rule; the text says which."""


def sorted_out(records: Iterable[object], reading: Reading) -> Sorted:
    found = Sorted()
    for record in records:
        key: str | None = None
        try:
            members = object_of(record)
            key = key_of(members, reading.key)
            mark = mark_of(members, reading.cursor) if reading.cursor else None
            found.good[key] = good(key, members, reading.fields)
        except Unfit as reason:
            found.bad.append(Bad(key, str(reason), record))
        else:
            found.highest = later(found.highest, mark)
    return found


def object_of(record: object) -> Json:
    if not isinstance(record, dict):
        raise Unfit("It is not an object.")
    return cast(dict[str, object], record)


def key_of(record: Json, name: str) -> str:
    value = member(record, name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unfit(f"Its key `{name}` is missing.")
    key = str(value).strip()
    if not 1 <= len(key) <= LONGEST_KEY or "\x00" in key or not encodable(key):
        raise Unfit(f"Its key `{name}` is empty, too long or has a character that cannot be stored.")
    return key


def encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def mark_of(record: Json, rule: CursorRule) -> Mark:
    value = member(record, rule.field)
    if rule.kind is CursorKind.NUMBER:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= LARGEST:
            raise Unfit(f"`{rule.field}` is not a whole number.")
        return value
    mark = moment(value) if isinstance(value, str) else None
    if mark is None:
        raise Unfit(f"`{rule.field}` is not a time.")
    return mark


def moment(text: str) -> datetime | None:
    """RFC 3339; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def good(key: str, record: Json, fields: Mapping[str, str]) -> Good:
    mapped = {ours: member(record, theirs) for ours, theirs in fields.items()} if fields else record
    body = {**mapped, "external_id": key}
    try:
        packed = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise Unfit("It has a value that JSON cannot say.") from error
    return Good(key, body, blake2b(packed, digest_size=16).digest())


def storable(record: object) -> object:
    """The record, or a part of it as text when JSON cannot say it."""
    try:
        orjson.dumps(record)
    except TypeError:
        return ascii(record)[:LONGEST_SHOWN]
    return record


def member(record: Json, path: str) -> object:
    """The member of that name, or at that path with dots."""
    if path in record:
        return record[path]
    value: object = record
    for name in path.split("."):
        value = cast(Json, value).get(name) if isinstance(value, dict) else None
    return value


def later(one: Mark | None, other: Mark | None) -> Mark | None:
    """The higher of two marks of one kind."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)  # pyright: ignore[reportArgumentType] - a source's marks are all of one kind


def text_of(mark: Mark | None) -> str | None:
    if mark is None:
        return None
    return str(mark) if isinstance(mark, int) else mark.isoformat().replace("+00:00", "Z")


def mark_in(text: object, rule: CursorRule | None) -> Mark | None:
    """A mark that was kept as text."""
    if rule is None or not isinstance(text, str):
        return None
    return int(text) if rule.kind is CursorKind.NUMBER else moment(text)


def keys_of(found: Sorted) -> Sequence[str]:
    return [*found.good, *(bad.key for bad in found.bad if bad.key is not None and bad.key not in found.good)]
