"""The database's rules on records (migrations/*.sql), for the in-memory adapters."""

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from ipaddress import ip_address
from typing import Any

import orjson

from shared_code import errors
from shared_code.model import ApiKey, AuditEntry, Endpoint, EventType, Partner, User

JSON_FIELDS = frozenset({"metadata", "payload", "schema", "example", "headers", "checkpoint", "record"})
EVENT_TYPE = re.compile(r"[a-zA-Z0-9\-_.]{1,128}")
ROLES = ("admin", "viewer")
INTEGERS = range(-(2**31), 2**31)

RULES: Mapping[type, Callable[[Any], bool]] = {
    Partner: lambda partner: 1 <= len(partner.name) <= 255 and partner.rate_limit_per_minute > 0,
    ApiKey: lambda key: key.rate_limit_per_minute is None or key.rate_limit_per_minute > 0,
    Endpoint: lambda endpoint: len(endpoint.events) > 0,
    EventType: lambda kind: EVENT_TYPE.fullmatch(kind.name) is not None,
    User: lambda user: user.email == user.email.lower() and 3 <= len(user.email) <= 254 and user.role in ROLES,
    AuditEntry: lambda entry: entry.ip_address is None or is_address(entry.ip_address),
}


def stored[R](record: R) -> R:
    """The record as the database would give it back. Raises InvalidBody if it would not take it."""
    if not is_dataclass(record) or isinstance(record, type):
        return record
    kept = {field.name: stored_value(field.name, getattr(record, field.name)) for field in fields(record)}
    if not RULES.get(type(record), lambda _: True)(record):
        raise unfit()
    return replace(record, **kept)


def stored_value(name: str, value: Any) -> Any:
    if name in JSON_FIELDS:
        return value if value is None else json_copy(value)
    if name == "ip_address" and value is not None and is_address(value):
        return str(ip_address(value))
    if isinstance(value, list | tuple):
        return tuple(stored_value("", item) for item in value)
    if isinstance(value, str) and not is_text(value):
        raise unfit()
    if isinstance(value, int) and value not in INTEGERS:
        raise unfit()
    return stored(value)


def fresh[R](record: R) -> R:
    """The record without a part that the store or another reader holds."""
    if not is_dataclass(record) or isinstance(record, type):
        return record
    shared = {name: deepcopy(getattr(record, name)) for name in JSON_FIELDS if hasattr(record, name)}
    return replace(record, **shared) if shared else record


def json_copy(value: Any) -> Any:
    """The value after a journey through jsonb: nobody else holds a part of it."""
    try:
        encoded = orjson.dumps(value)
    except TypeError as error:
        raise unfit() from error
    if not all(is_text(text) for text in texts(value)):
        raise unfit()
    return orjson.loads(encoded)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (key, *texts(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def is_text(value: str) -> bool:
    """PostgreSQL takes neither NUL nor half of a surrogate pair."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def unfit() -> errors.InvalidBody:
    return errors.InvalidBody("A value does not fit where it is to be stored.")
