"""JSON Schema 2020-12 checks with the jsonschema library, no references outside the schema."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from shared_code.model import Json

MOST_PROBLEMS = 20


def check(schema: Json, value: Any) -> Sequence[tuple[str, str]]:
    """(pointer, message) of each problem; a schema that is none itself is told at `/schema`."""
    try:
        validator = validator_for(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
        problems = sorted(validator.iter_errors(value), key=lambda problem: list(map(str, problem.absolute_path)))
    except SchemaError as error:
        return [("/schema" + pointer(error.absolute_path), error.message[:200])]
    except Exception:  # a reference that leads nowhere, a pattern that is none: the library raises many kinds
        return [("/schema", "This schema cannot be used: a reference or pattern in it does not work.")]
    return [(pointer(problem.absolute_path), problem.message[:200]) for problem in problems[:MOST_PROBLEMS]]


@lru_cache(maxsize=256)
def validator_for(schema: bytes) -> Draft202012Validator:
    parsed = orjson.loads(schema)
    Draft202012Validator.check_schema(parsed)
    check_references(parsed)
    return Draft202012Validator(parsed, registry=Registry())


def check_references(schema: Any) -> None:
    """Raises for a reference that leads nowhere, before anybody is checked against it."""
    resolver = Registry().with_resource("", Resource(schema, DRAFT202012)).resolver("")
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(reference := node.get("$ref"), str):
                resolver.lookup(reference)
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def pointer(path: Sequence[object]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
