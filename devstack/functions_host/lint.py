"""What is wrong with an app's functions before the first request (facts sections 1, 7 and 9 item 12).

`refusals` are the functions the real host puts in error and does not serve. `shadows` are worse, because
nothing reports them: functions that load and never get (some of) their requests.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from devstack.functions_host import ncrontab
from devstack.functions_host.constraints import BadConstraint
from devstack.functions_host.metadata import Function, in_host_order
from devstack.functions_host.templates import BadTemplate, Parameter, Part, Segment, Template, parse

_FUNCTION_NAME = re.compile(r"[a-z][a-z0-9_\-]{0,127}", re.IGNORECASE)
_BINDING_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9]{0,127}|\$return")
_RESERVED = ("admin", "runtime")
# One of these should satisfy a constraint. The first is taken where there is none: no other constraint allows it.
_SAMPLES = (
    *("x-9_~", "7", "c56a4180-65aa-42ec-a945-5fd21dec0538", "abc", "true", "2026-01-31", "1.5", "70", "700"),
    *("x" * length for length in range(1, 65)),
    *(str(10**digits) for digits in range(19)),
)


def lint(functions: Iterable[Function]) -> list[str]:
    """Every problem, one line each; an empty list is a clean app."""
    indexed = list(functions)
    refused = refusals(indexed)
    served = [function for function in indexed if function.name not in refused]
    return [f"function '{name}': {reason}" for name, reason in refused.items()] + shadows(served)


def refusals(functions: Sequence[Function]) -> dict[str, str]:
    """Function name to the reason why the real host does not serve it."""
    refused: dict[str, str] = {}
    taken: list[Function] = []
    for function in in_host_order(list(functions)):
        reason = _own_fault(function) or _conflict(function, taken)
        if reason:
            refused[function.name] = reason
        else:
            taken.append(function)
    return refused


def shadows(functions: Sequence[Function]) -> list[str]:
    """Where a function earlier in name order takes a path that a later one is there to serve."""
    http = [(function, parse(function.route)) for function in in_host_order(list(functions)) if function.is_http]
    found = []
    for position, (later, template) in enumerate(http):
        for earlier, wider in http[:position]:
            if not earlier.shares_a_method_with(later) or _literalness(wider) < _literalness(template):
                continue
            path = _swallowed(wider, template)
            if path is not None:
                found.append(
                    f"function '{later.name}': '/{path}' of its route '{template.text}' goes to '{earlier.name}' "
                    f"('{wider.text}'), which comes first by name; rename one or constrain the parameter"
                )
    return found


def _own_fault(function: Function) -> str | None:
    if not _FUNCTION_NAME.fullmatch(function.name) or function.name.lower() == "host":
        return "its name is not allowed (a letter, then at most 127 letters, digits, '_' or '-'; not 'host')"
    for binding in function.bindings:
        if not _BINDING_NAME.fullmatch(str(binding["name"])):
            return f"the binding name '{binding['name']}' is not allowed (letters and digits only)"
    if len(function.triggers) != 1:
        return f"it has {len(function.triggers)} triggers; one is needed"
    return _http_fault(function) or _timer_fault(function)


def _http_fault(function: Function) -> str | None:
    if not function.is_http:
        return None
    if function.route.lower().startswith(_RESERVED):
        return f"its route '{function.route}' is reserved: it begins with 'admin' or 'runtime'"
    try:
        parse(function.route)
    except (BadTemplate, BadConstraint) as problem:
        return str(problem)
    return None


def _timer_fault(function: Function) -> str | None:
    """A schedule with `%NAME%` is judged when the timers start: its text is a setting."""
    schedule = str(function.trigger.get("schedule", ""))
    if not function.is_timer or "%" in schedule:
        return None
    try:
        ncrontab.parse(schedule)
    except ncrontab.BadSchedule as problem:
        return str(problem)
    return None


def _conflict(function: Function, taken: Iterable[Function]) -> str | None:
    for other in taken:
        if other.name.lower() == function.name.lower():
            return f"its name differs from '{other.name}' by case only"
        if not (function.is_http and other.is_http):
            continue
        if other.route.lower() == function.route.lower() and other.shares_a_method_with(function):
            return f"its route '{function.route}' is that of '{other.name}', with a method in common"
    return None


def _literalness(template: Template) -> tuple[int, ...]:
    """Smaller is more literal, segment by segment; the more literal of two may well take a path from the other."""
    return tuple(max(_looseness(part) for part in segment) for segment in template.segments)


def _looseness(part: Part) -> int:
    if isinstance(part, str):
        return 1
    return 4 if part.catch_all else 2 if part.checks else 3


def _swallowed(wider: Template, template: Template) -> str | None:
    """A path made from `template` that `wider` takes."""
    shape = re.compile(wider.pattern, re.IGNORECASE | re.DOTALL)
    for path in _paths(template):
        found = shape.fullmatch(path)
        if found and _all_allowed(wider.parameters, found.groups()):
            return path
    return None


def _all_allowed(parameters: Sequence[Parameter], values: Sequence[str | None]) -> bool:
    return all(not value or parameter.allows(value) for parameter, value in zip(parameters, values, strict=True))


def _paths(template: Template) -> Iterator[str]:
    """One path with every parameter given, then one for each optional segment that may be left out.

    Nothing, when no sample satisfies a constraint (a regex, mostly): such a route is not judged.
    """
    pieces = [_piece(segment) for segment in template.segments]
    while None not in pieces:
        yield "/".join(piece for piece in pieces if piece is not None)
        last = template.segments[len(pieces) - 1][0] if pieces else ""
        if isinstance(last, str) or not last.may_be_missing:
            return
        pieces.pop()


def _piece(segment: Segment) -> str | None:
    samples = [part if isinstance(part, str) else _sample(part) for part in segment]
    return None if None in samples else "".join(sample for sample in samples if sample is not None)


def _sample(parameter: Parameter) -> str | None:
    return next((sample for sample in _SAMPLES if parameter.allows(sample)), None)
