"""Which function serves a request: the first in name order whose template AND method match (facts section 9 item 3)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devstack.functions_host.metadata import Function, in_host_order
from devstack.functions_host.templates import Parameter, Template, parse

Parameters = Mapping[str, str]
_NONE: Parameters = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One HTTP function as the server needs it; `methods` empty means every method."""

    name: str
    argument: str
    auth_level: str
    methods: frozenset[str]
    template: Template

    @classmethod
    def of(cls, function: Function, prefix: str) -> "Route":
        return cls(
            name=function.name,
            argument=str(function.trigger["name"]),
            auth_level=function.auth_level,
            methods=function.methods,
            template=parse(f"{prefix}/{function.route}".strip("/")),
        )


Match = tuple[Route, Parameters]


class RouteTable:
    def __init__(self, functions: Sequence[Function], prefix: str = "") -> None:
        http = [function for function in functions if function.is_http]
        routes = [Route.of(function, prefix.strip("/")) for function in in_host_order(http)]
        methods = frozenset[str]().union(*(route.methods for route in routes))
        self._tables = {method: _MethodTable(_serving(routes, method)) for method in methods}
        self._other_methods = _MethodTable([route for route in routes if not route.methods])

    def match(self, method: str, path: str) -> Match | None:
        """`path` is decoded (see paths.py) and has no leading slash. No match is None: the host answers 404."""
        return self._tables.get(method, self._other_methods).match(path)


def _serving(routes: Sequence[Route], method: str) -> list[Route]:
    return [route for route in routes if not route.methods or method in route.methods]


class _MethodTable:
    """The routes one method can reach, in order.

    A dict answers for literal paths; one regular expression, an alternative per route, finds the first
    template of the right shape. Only when that one's constraints refuse are the rest tried one by one.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._entries = [_Entry(route) for route in routes]
        self._pattern = re.compile("|".join(f"({entry.pattern})" for entry in self._entries), re.I | re.S)
        self._by_group = self._group_numbers()
        self._literal = self._literal_winners()

    def match(self, path: str) -> Match | None:
        found = self._literal.get(path)
        if found is not None:
            return found
        shape = self._pattern.fullmatch(path)
        if shape is None or shape.lastindex is None:
            return None
        position = self._by_group[shape.lastindex]
        entry = self._entries[position]
        first = shape.lastindex + 1
        parameters = entry.accept([shape[first + i] for i in range(len(entry.parameters))])
        return (entry.route, parameters) if parameters is not None else self._scan(path, position + 1)

    def _scan(self, path: str, start: int = 0) -> Match | None:
        for entry in self._entries[start:]:
            shape = entry.compiled.fullmatch(path)
            parameters = entry.accept(list(shape.groups())) if shape else None
            if parameters is not None:
                return entry.route, parameters
        return None

    def _group_numbers(self) -> dict[int, int]:
        numbers, group = {}, 1
        for position, entry in enumerate(self._entries):
            numbers[group] = position
            group += 1 + len(entry.parameters)
        return numbers

    def _literal_winners(self) -> dict[str, Match]:
        """Only paths whose first match IS the literal route: one that is shadowed must lose here too."""
        literal = {entry.route.template.text: entry for entry in self._entries if not entry.parameters}
        winners = {text: self._scan(text) for text in literal}
        return {text: found for text, found in winners.items() if found and not found[0].template.parameters}


class _Entry:
    def __init__(self, route: Route) -> None:
        self.route = route
        self.parameters = route.template.parameters
        self.pattern = route.template.pattern
        self.compiled = re.compile(self.pattern, re.IGNORECASE | re.DOTALL)

    def accept(self, values: Sequence[str | None]) -> Parameters | None:
        """The route parameters, absent ones left out; None when a constraint refuses."""
        if not self.parameters:
            return _NONE
        accepted: dict[str, str] = {}
        for parameter, value in zip(self.parameters, values, strict=True):
            if not _take(parameter, value, accepted):
                return None
        return accepted


def _take(parameter: Parameter, value: str | None, accepted: dict[str, str]) -> bool:
    text = value or parameter.default
    if not text:
        return True
    accepted[parameter.name] = text
    return not parameter.checks or parameter.allows(text)
