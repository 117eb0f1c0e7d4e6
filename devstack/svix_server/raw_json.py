"""Slices the raw text of each top-level member out of a JSON object (facts/svix.md §2, Exact bytes).

What the sender wrote is what is signed and sent: `1.10`, duplicate keys, `\\u00e9` and big integers stay.
"""

import json
from dataclasses import dataclass
from typing import Any, NoReturn


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Numbers as floats: Python refuses to read integers of more than 4,300 digits.
_decoder = json.JSONDecoder(parse_int=float, parse_constant=_refuse_constant)
_BLANK = " \t\n\r"


@dataclass(frozen=True, slots=True)
class Member:
    value: Any
    raw: str


def members(text: str) -> dict[str, Member]:
    """The object's members by name; ValueError if it is not a JSON object or repeats one."""
    found: dict[str, Member] = {}
    at = _expect(text, _skip(text, 0), "{")
    at = _skip(text, at)
    while text[at : at + 1] != "}":
        if found:
            at = _skip(text, _expect(text, at, ","))
        name, at = _value(text, at)
        if not isinstance(name, str) or name in found:
            raise ValueError(f"not a new member name before offset {at}")
        start = _skip(text, _expect(text, _skip(text, at), ":"))
        value, end = _value(text, start)
        found[name] = Member(value, text[start:end])
        at = _skip(text, end)
    if _skip(text, at + 1) != len(text):
        raise ValueError("trailing characters")
    return found


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _decoder.raw_decode(text, at)
    except RecursionError:
        raise ValueError("recursion limit exceeded") from None


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise ValueError(f"expected `{character}` at offset {at}")
    return at + 1
