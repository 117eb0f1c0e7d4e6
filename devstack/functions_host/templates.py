"""A route template as ASP.NET reads it: `api/{id:int}`, `{id?}`, `{id=5}`, `{*rest}`, `{name}.{ext}`."""

import re
from dataclasses import dataclass

from devstack.functions_host.constraints import BadConstraint, Check, constraint

_PARAMETER = re.compile(r"(?P<stars>\*{0,2})(?P<name>[^:=?*{}/]+)(?P<rest>.*)", re.DOTALL)
_CONSTRAINT = re.compile(r":(?P<name>[^:(=]*)(?:\((?P<argument>.*?)\)(?=:|=|$))?", re.DOTALL)


class BadTemplate(ValueError):
    """The host refuses a function with such a route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    checks: tuple[Check, ...] = ()
    default: str | None = None
    optional: bool = False
    catch_all: bool = False

    @property
    def may_be_missing(self) -> bool:
        return self.optional or self.catch_all or self.default is not None

    def allows(self, text: str) -> bool:
        return all(check(text) for check in self.checks)


Part = str | Parameter
Segment = tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """`pattern` matches a decoded path without its leading slash; its groups are the parameters, in order."""

    text: str
    segments: tuple[Segment, ...]
    pattern: str

    @property
    def parameters(self) -> list[Parameter]:
        return [part for segment in self.segments for part in segment if isinstance(part, Parameter)]


def parse(text: str) -> Template:
    segments = tuple(_segment(piece) for piece in _split(text)) if text else ()
    parameters = [part for segment in segments for part in segment if isinstance(part, Parameter)]
    names = [parameter.name.lower() for parameter in parameters]
    if len(set(names)) < len(names):
        raise BadTemplate(f"the route '{text}' has one parameter name twice")
    alone_at_the_end = segments[-1] if segments and len(segments[-1]) == 1 else ()
    if any(parameter.catch_all and parameter not in alone_at_the_end for parameter in parameters):
        raise BadTemplate(f"the route '{text}' has something after its catch-all")
    return Template(text=text, segments=segments, pattern=_pattern(segments))


def _split(text: str) -> list[str]:
    """At the slashes that stand outside braces: a regex constraint may hold one."""
    pieces, depth = [""], 0
    for letter in text:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "/" and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    if depth or "" in pieces:
        raise BadTemplate(f"the route '{text}' has unequal braces or an empty segment")
    return pieces


def _segment(piece: str) -> Segment:
    parts: list[Part] = []
    position = 0
    while position < len(piece):
        start = piece.find("{", position)
        if start == -1:
            parts.append(piece[position:])
            break
        if start > position:
            parts.append(piece[position:start])
        end = _closing_brace(piece, start)
        parts.append(_parameter(piece[start + 1 : end]))
        position = end + 1
    return tuple(parts)


def _closing_brace(piece: str, start: int) -> int:
    """The brace that ends the parameter; inside it `{{` and `}}` stand for single ones, which a regex may need."""
    depth = 0
    for position in range(start, len(piece)):
        depth += {"{": 1, "}": -1}.get(piece[position], 0)
        if depth == 0:
            return position
    raise BadTemplate(f"the route segment '{piece}' has unequal braces")


def _parameter(text: str) -> Parameter:
    found = _PARAMETER.fullmatch(text.replace("{{", "{").replace("}}", "}"))
    if found is None:
        raise BadTemplate(f"'{{{text}}}' is not a route parameter")
    rest = found["rest"]
    optional = rest.endswith("?")
    checks, default = _constraints(rest.removesuffix("?"))
    return Parameter(
        name=found["name"],
        checks=checks,
        default=default,
        optional=optional,
        catch_all=bool(found["stars"]),
    )


def _constraints(text: str) -> tuple[tuple[Check, ...], str | None]:
    checks: list[Check] = []
    while text.startswith(":"):
        found = _CONSTRAINT.match(text)
        if found is None or not found["name"]:
            raise BadConstraint(f"the constraint '{text}' cannot be read")
        checks.append(constraint(found["name"], found["argument"]))
        text = text[found.end() :]
    if text and not text.startswith("="):
        raise BadTemplate(f"'{text}' is neither a constraint nor a default value")
    return tuple(checks), text[1:] if text else None


def _pattern(segments: tuple[Segment, ...]) -> str:
    """Optional segments nest, so that each may be missing only when all after it are."""
    tail = "/?"
    for position, segment in reversed(list(enumerate(segments))):
        slash = "/" if position else ""
        body = slash + "".join(_part(part) for part in segment)
        if len(segment) == 1 and isinstance(segment[0], Parameter) and segment[0].may_be_missing:
            tail = f"(?:{body}{tail})?/?" if not segment[0].catch_all else f"(?:{body})?"
        else:
            tail = body + tail
    return tail


def _part(part: Part) -> str:
    if isinstance(part, str):
        return re.escape(part)
    return "(.*)" if part.catch_all else "([^/]+)"
