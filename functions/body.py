"""Request bodies: from raw bytes to a checked model (contract §2; facts/security.md 2.11)."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from shared_code import errors
from shared_code.errors import Violation

DEEPEST = 32
MOST_VALUES = 10_000
MOST_ITEMS = 1_000
LONGEST_TEXT = 10_000
LARGEST_INTEGER = 2**53
MOST_VIOLATIONS = 20


def read[Body: BaseModel](model: type[Body], raw: bytes) -> Body:
    """The body as the model. Raises UnreadableBody for what is not sane JSON, InvalidBody for a broken rule."""
    check_json(raw)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise errors.InvalidBody(violations=violations(error)) from error


def violations(error: ValidationError) -> Sequence[Violation]:
    found = error.errors(include_url=False, include_input=False, include_context=False)[:MOST_VIOLATIONS]
    return [Violation(pointer=pointer(problem["loc"]), detail=problem["msg"]) for problem in found]


def pointer(path: Sequence[int | str]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def check_json(raw: bytes) -> None:
    """Refuses what JSON parsers take but no service should: see facts/security.md 2.11 for each reason."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=once_each, parse_constant=no_constant)
    except RecursionError as error:
        raise errors.UnreadableBody(f"The body is nested deeper than {DEEPEST} levels.") from error
    except ValueError as error:  # not UTF-8, not JSON, a name twice, NaN, an integer of thousands of digits
        raise errors.UnreadableBody(str(error) if isinstance(error, Unsound) else None) from error
    check_values(value)


class Unsound(ValueError):
    """JSON whose meaning depends on who reads it."""


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unsound("An object in the body has the same name twice.")
    return members


def no_constant(name: str) -> None:
    raise Unsound(f"{name} is not JSON.")


def check_values(root: Any) -> None:
    """Depth, count and size of everything in the body, without recursion."""
    waiting: list[tuple[Any, int]] = [(root, 1)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST:
            raise errors.UnreadableBody(f"The body is nested deeper than {DEEPEST} levels.")
        if seen > MOST_VALUES:
            raise errors.UnreadableBody(f"The body has more than {MOST_VALUES} values.")
        waiting.extend((inner, depth + 1) for inner in inner_values(value))


def inner_values(value: Any) -> Sequence[Any]:
    """What is inside a value; raises if the value itself is out of bounds."""
    match value:
        case str():
            check_text(value)
        case bool() | None:
            pass
        case int() if abs(value) > LARGEST_INTEGER:
            raise errors.UnreadableBody("An integer in the body is beyond ±2^53.")
        case float() if value in (float("inf"), float("-inf")):
            raise errors.UnreadableBody("A number in the body is too large.")
        case list():
            if len(value) > MOST_ITEMS:
                raise errors.UnreadableBody(f"An array in the body has more than {MOST_ITEMS} items.")
            return value
        case dict():
            return [*value, *value.values()]
        case _:
            pass
    return ()


def check_text(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise errors.UnreadableBody(f"A text in the body is longer than {LONGEST_TEXT} characters.")
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise errors.UnreadableBody("A text in the body has a character that cannot be stored.")
