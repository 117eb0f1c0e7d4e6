"""The route constraints of ASP.NET: `{id:int}`, `{name:length(3,20)}` and the rest (facts section 1)."""

import math
import re
from collections.abc import Callable
from datetime import datetime

Check = Callable[[str], bool]

_GUID = re.compile(
    r"[0-9a-f]{32}|(?P<open>[{(])?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?(open)[})])", re.IGNORECASE
)
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_DECIMAL = re.compile(r"\s*[+-]?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)\s*")
_FLOAT = re.compile(r"\s*[+-]?(?:(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|infinity|∞)\s*", re.IGNORECASE)
_ALPHA = re.compile(r"[a-z]*", re.IGNORECASE)
_DATE_FORMATS = ("%m-%d-%Y", "%Y-%m", "%d %b %Y", "%b %d, %Y", "%H:%M", "%H:%M:%S", "%Y-%m-%d %I:%M%p")


class BadConstraint(ValueError):
    """The host refuses a function whose route names a constraint ASP.NET does not know or cannot read."""


def constraint(name: str, argument: str | None) -> Check:
    """The check for `name` or `name(argument)`."""
    try:
        if argument is None:
            return _PLAIN[name.lower()]
        return _WITH_ARGUMENT[name.lower()](argument)
    except (KeyError, ValueError, TypeError, re.error) as problem:
        text = name if argument is None else f"{name}({argument})"
        raise BadConstraint(f"the constraint '{text}' is not one that ASP.NET has") from problem


def _whole_number(bits: int) -> Check:
    limit = 2 ** (bits - 1)
    return lambda text: bool(_INTEGER.fullmatch(text)) and -limit <= int(text) < limit


def _is_datetime(text: str) -> bool:
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return any(_reads_as(text.strip(), form) for form in _DATE_FORMATS)
    return True


def _reads_as(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only the shape is asked for
    except ValueError:
        return False
    return True


def _lengths(argument: str) -> Check:
    low, _, high = argument.partition(",")
    shortest, longest = int(low), int(high or low)
    return lambda text: shortest <= len(text) <= longest


def _between(low: float, high: float) -> Check:
    is_long = _whole_number(64)
    return lambda text: is_long(text) and low <= int(text) <= high


def _range(argument: str) -> Check:
    low, high = argument.split(",")
    return _between(int(low), int(high))


def _regex(argument: str) -> Check:
    pattern = re.compile(argument, re.IGNORECASE)
    return lambda text: pattern.search(text) is not None


_PLAIN: dict[str, Check] = {
    "int": _whole_number(32),
    "long": _whole_number(64),
    "bool": lambda text: text.strip().lower() in ("true", "false"),
    "datetime": _is_datetime,
    "decimal": lambda text: _DECIMAL.fullmatch(text) is not None,
    "double": lambda text: _FLOAT.fullmatch(text) is not None,
    "float": lambda text: _FLOAT.fullmatch(text) is not None,
    "guid": lambda text: _GUID.fullmatch(text) is not None,
    "alpha": lambda text: _ALPHA.fullmatch(text) is not None,
    "required": lambda text: text != "",
}
_WITH_ARGUMENT: dict[str, Callable[[str], Check]] = {
    "minlength": lambda argument: _lengths(f"{argument},{2**31}"),
    "maxlength": lambda argument: _lengths(f"0,{argument}"),
    "length": _lengths,
    "min": lambda argument: _between(int(argument), math.inf),
    "max": lambda argument: _between(-math.inf, int(argument)),
    "range": _range,
    "regex": _regex,
}
