"""What Xano makes of the inputs of a request, before anything else runs (facts section 7.4, items 3 and 4)."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from devstack.xano_server.errors import bad_input, missing
from devstack.xano_server.tables import Column, Kind, Table

Row = dict[str, Any]
INT64 = (-(2**63), 2**63 - 1)


def complete(table: Table, given: Row, now_ms: int) -> Row:
    """The inputs of POST and PUT: every column is written, and **omitted inputs become zero values**."""
    row = {column.name: _input(column, given) for column in table.columns}
    return _touch(table, row, now_ms)


def fresh(table: Table, given: Row, now_ms: int) -> Row:
    """The inputs of a new row. Who leaves its natural key out is given one, as the operator's own endpoint may do."""
    made = str(given.get("external_id") or uuid4().hex)
    return complete(table, {table.natural_key: made, **given}, now_ms)


def partial(table: Table, given: Row, now_ms: int) -> Row:
    """The inputs of PATCH: keys of the raw body, after filter_null and filter_empty_text (facts section 2.3).

    **null and "" are dropped without a word**: nobody can empty a column this way.
    """
    kept = {name: value for name, value in given.items() if value is not None and value != ""}
    return _touch(table, present(table, kept), now_ms)


def present(table: Table, given: Row) -> Row:
    """Only the columns that were given, null and "" among them."""
    return {column.name: _input(column, given) for column in table.columns if column.name in given}


def _touch(table: Table, row: Row, now_ms: int) -> Row:
    if table.touched and row.get(table.touched) is None:
        row[table.touched] = now_ms
    return row


def _input(column: Column, given: Row) -> Any:
    """One column. Unknown keys are never looked at, and so ignored."""
    if column.name not in given:
        if column.required:
            raise missing(column.name)
        return column.omitted
    value = given[column.name]
    if value is None:
        if not column.nullable:
            raise missing(column.name)
        return None
    value = READERS[column.kind](column, value)
    if column.required and value == "":
        raise missing(column.name)
    return value


def _text(column: Column, value: Any) -> str:
    """`filters=trim` changes the value; a number becomes text."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | dict | list):
        raise bad_input("Input is not text.", column.name)
    return str(value)


def _enum(column: Column, value: Any) -> str:
    if value not in column.values:
        raise bad_input(f"{value} is not one of the allowable values", column.name)
    return value


def _int(column: Column, value: Any) -> int:
    """64 bits; what is larger saturates without a word (facts section 3.1)."""
    whole = value if type(value) is int else math.trunc(_number(column, value))
    return max(INT64[0], min(INT64[1], whole))


def _decimal(column: Column, value: Any) -> float:
    """Five decimals; the rest is rounded away without a word (facts section 3.1)."""
    return round(_number(column, value), 5)


def _number(column: Column, value: Any) -> float:
    """A number in quotes will do; which words Xano has for anything else is a guess."""
    try:
        number = float(value) if isinstance(value, int | float | str) and value is not True else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if value is False or not math.isfinite(number):
        raise bad_input("Input is not a number.", column.name)
    return number


def _json(_column: Column, value: Any) -> Any:
    return value


def _timestamp(column: Column, value: Any) -> int:
    """Epoch ms. ISO text loses its fraction, and seconds pass for ms without an error (facts section 3.1)."""
    if not isinstance(value, str) or value.strip().lstrip("-").isdecimal():
        return _int(column, value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as problem:
        raise bad_input("Input is not a timestamp.", column.name) from problem
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1000


READERS: dict[Kind, Callable[[Column, Any], Any]] = {
    Kind.TEXT: _text,
    Kind.ENUM: _enum,
    Kind.INT: _int,
    Kind.DECIMAL: _decimal,
    Kind.JSON: _json,
    Kind.TIMESTAMP: _timestamp,
}
