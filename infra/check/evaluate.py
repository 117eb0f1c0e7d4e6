"""What a deployment would ask Azure for: the templates worked out with the values of one environment.

What only Azure knows (ids, host names) stands for itself as `Unknown`. Faults of modules and parameters are found
on the way: missing, unknown, of the wrong type, outside @allowed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tree_sitter import Node

from infra.check.functions import FUNCTIONS, Unknown, unknown
from infra.check.tree import BicepFile, Declaration, Fault, read, text_of

PYTHON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "int": int,
    "bool": bool,
    "object": dict,
    "array": list,
}
ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\$": "$"}


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource that is made, with its values. A child's name is its parent's and its own, with a slash."""

    type: str
    version: str
    name: str
    body: Mapping[str, Any] = field(repr=False)
    file: str
    line: int
    symbol: str
    parent: "Resource | None" = field(default=None, repr=False)
    template_scope: str = "resourceGroup"

    @property
    def properties(self) -> Mapping[str, Any]:
        return self.body.get("properties") or {}

    @property
    def id(self) -> Unknown:
        return unknown(f"{self.type}/{self.name}.id")

    def member(self, name: str) -> Any:
        if name == "id":
            return self.id
        if name == "name":
            return str(self.name).rpartition("/")[2]
        return unknown(f"{self.symbol}.{name}")

    def fault(self, text: str) -> Fault:
        return Fault(self.file, self.line, f"{self.symbol}: {text}")


@dataclass(slots=True)
class Deployment:
    """Everything that one run of a template makes."""

    resources: list[Resource] = field(default_factory=list[Resource])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    faults: list[Fault] = field(default_factory=list[Fault])

    def of_type(self, kind: str) -> list[Resource]:
        return [each for each in self.resources if each.type == f"Microsoft.{kind}"]


class CannotEvaluate(Exception):
    def __init__(self, node: Node, text: str) -> None:
        super().__init__(text)
        self.line = node.start_point[0] + 1


def deploy(folder: Path, template: str, values: Mapping[str, Any]) -> Deployment:
    deployment = Deployment()
    run = Run(read(folder / template, folder), folder, dict(values), deployment)
    run.all()
    deployment.outputs = run.outputs
    return deployment


@dataclass(slots=True)
class Run:
    """One template with its parameters. Names are worked out when they are first asked for."""

    file: BicepFile
    folder: Path
    given: dict[str, Any]
    deployment: Deployment
    known: dict[str, Any] = field(default_factory=dict[str, Any])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])

    def all(self) -> None:
        for name in self.given.keys() - {each.name for each in self.file.of_kind("param")}:
            self.report(1, f"there is no parameter {name}")
        for each in self.file.declarations.values():
            if each.kind != "var":
                self.attempt(each, lambda name=each.name: self.resolve(name))
        for each in self.file.outputs.values():
            self.attempt(each, lambda output=each: self.outputs.update({output.name: self.value(output.value)}))

    def attempt(self, declaration: Declaration, work: Callable[[], object]) -> None:
        try:
            work()
        except CannotEvaluate as problem:
            self.report(problem.line, str(problem))

    def report(self, line: int, text: str) -> None:
        fault = self.file.fault(line, text)
        if fault not in self.deployment.faults:
            self.deployment.faults.append(fault)

    # ── Names ────────────────────────────────────────────────────────────────────────────────────

    def resolve(self, name: str) -> Any:
        if name not in self.known:
            declaration = self.file.declarations[name]
            self.known[name] = unknown(name)  # a circle ends here; symbols.py reports it
            makers = {"param": self.parameter, "resource": self.resource, "module": self.module}
            make = makers.get(declaration.kind)
            self.known[name] = make(declaration) if make else self.value(declaration.value)
        return self.known[name]

    def parameter(self, declaration: Declaration) -> Any:
        default = self.value(declaration.value)
        if declaration.value is not None:
            self.judge(declaration, default)
        elif declaration.name not in self.given:
            raise CannotEvaluate(declaration.node, f"parameter {declaration.name} is not given")
        value = self.given.get(declaration.name, default)
        self.judge(declaration, value)
        return value

    def judge(self, declaration: Declaration, value: Any) -> None:
        if isinstance(value, Unknown):
            return
        wanted = PYTHON_TYPES.get(declaration.type, object)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            self.report(declaration.line, f"parameter {declaration.name} is {value!r}, not of type {declaration.type}")
            return
        rules: dict[str, Callable[[Any], bool]] = {
            "allowed": lambda limit: value in limit,
            "minValue": lambda limit: value >= limit,
            "maxValue": lambda limit: value <= limit,
            "minLength": lambda limit: len(value) >= limit,
            "maxLength": lambda limit: len(value) <= limit,
        }
        for name, holds in rules.items():
            if name in declaration.decorators and not holds(self.value(declaration.decorators[name][0])):
                self.report(declaration.line, f"parameter {declaration.name} is {value!r}, against its @{name}")

    # ── Resources and modules ────────────────────────────────────────────────────────────────────

    def resource(self, declaration: Declaration) -> Any:
        return self.unfold(declaration, declaration.value, {}, self.made)

    def module(self, declaration: Declaration) -> Any:
        return self.unfold(declaration, declaration.value, {}, self.called)

    def unfold(self, declaration: Declaration, node: Node | None, names: Mapping[str, Any], make: Any) -> Any:
        """Follows `for` and `if` down to the body; what is not deployed is known all the same."""
        if node is not None and node.type == "for_statement":
            loop = self.turns(node, names)
            return [self.unfold(declaration, node.named_children[-1], each, make) for each in loop]
        if node is not None and node.type == "if_statement":
            wanted = bool(self.value(node.named_children[0], names))
            return make(declaration, node.named_children[-1], names, wanted)
        return make(declaration, node, names, True)

    def made(self, declaration: Declaration, body: Node, names: Mapping[str, Any], wanted: bool) -> Resource:
        kind, _, version = declaration.type.partition("@")
        values = self.body_of(body, names, only=None if wanted else ("name", "parent"))
        parent = values.pop("parent", None)
        name = values.get("name", "")
        made = Resource(
            kind,
            version,
            f"{parent.name}/{name}" if isinstance(parent, Resource) else name,
            values,
            self.file.name,
            declaration.line,
            declaration.name,
            parent if isinstance(parent, Resource) else None,
            self.file.scope,
        )
        if wanted and not declaration.existing:
            self.deployment.resources.append(made)
        return made

    def body_of(self, body: Node, names: Mapping[str, Any], only: tuple[str, ...] | None = None) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for each in body.named_children:
            if each.type == "object_property":
                key = text_of(each.named_children[0])
                if key != "dependsOn" and (only is None or key in only):
                    values[self.key(each.named_children[0], names)] = self.value(each.named_children[1], names)
        return values

    def called(self, declaration: Declaration, body: Node, names: Mapping[str, Any], wanted: bool) -> Any:
        path = (self.file.path.parent / declaration.type).resolve()
        if not path.is_file():
            raise CannotEvaluate(declaration.node, f"there is no file {declaration.type}")
        callee = read(path, self.folder.resolve())
        given = self.body_of(body, names).get("params", {}) if wanted else {}
        self.judge_call(declaration, callee, given, wanted)
        if not wanted:
            return Called(declaration.name, {name: unknown(name) for name in callee.outputs})
        known = {name: value for name, value in given.items() if name in callee.declarations}
        run = Run(callee, self.folder, known, self.deployment)
        run.all()
        return Called(declaration.name, {name: run.outputs.get(name, unknown(name)) for name in callee.outputs})

    def judge_call(self, declaration: Declaration, callee: BicepFile, given: Mapping[str, Any], wanted: bool) -> None:
        parameters = {each.name: each for each in callee.of_kind("param")}
        for name in given.keys() - parameters.keys():
            self.report(declaration.line, f"{declaration.type} has no parameter {name}")
        for name, parameter in parameters.items():
            if wanted and name not in given and parameter.value is None:
                self.report(declaration.line, f"{declaration.type} is not given {name}")

    def turns(self, node: Node, names: Mapping[str, Any]) -> list[dict[str, Any]]:
        first, items = node.named_children[0], self.value(node.named_children[1], names)
        if not isinstance(items, list):
            raise CannotEvaluate(node, f"a loop over {items!r}, which is not a list")
        if first.type != "for_loop_parameters":
            return [{**names, text_of(first): item} for item in items]
        item_name, index_name = map(text_of, first.named_children)
        return [{**names, item_name: item, index_name: index} for index, item in enumerate(items)]

    # ── Expressions ──────────────────────────────────────────────────────────────────────────────

    def value(self, node: Node | None, names: Mapping[str, Any] | None = None) -> Any:
        if node is None:
            return None
        evaluate = getattr(self, f"of_{node.type}", None)
        if evaluate is None:
            raise CannotEvaluate(node, f"house style: no {node.type.replace('_', ' ')}")
        return evaluate(node, names or {})

    def key(self, node: Node, names: Mapping[str, Any]) -> str:
        return text_of(node) if node.type == "identifier" else self.value(node, names)

    def of_string(self, node: Node, names: Mapping[str, Any]) -> Any:
        parts = [self.part(child, names) for child in node.named_children]
        whole = "".join(str(part) for part in parts)
        return Unknown(whole) if any(isinstance(part, Unknown) for part in parts) else whole

    def part(self, node: Node, names: Mapping[str, Any]) -> Any:
        if node.type == "interpolation":
            return self.value(node.named_children[0], names)
        return ESCAPES.get(text_of(node), text_of(node))

    def of_number(self, node: Node, names: Mapping[str, Any]) -> int:
        return int(text_of(node))

    def of_boolean(self, node: Node, names: Mapping[str, Any]) -> bool:
        return text_of(node) == "true"

    def of_null(self, node: Node, names: Mapping[str, Any]) -> None:
        return None

    def of_object(self, node: Node, names: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for each in node.named_children:
            if each.type != "object_property":
                continue
            key = self.key(each.named_children[0], names)
            if key in values:
                raise CannotEvaluate(each, f"{key} stands twice in one object")
            values[key] = self.value(each.named_children[1], names)
        return {key: value for key, value in values.items() if value is not None}

    def of_array(self, node: Node, names: Mapping[str, Any]) -> list[Any]:
        return [self.value(child, names) for child in node.named_children if child.type != "comment"]

    def of_identifier(self, node: Node, names: Mapping[str, Any]) -> Any:
        name = text_of(node)
        if name in names:
            return names[name]
        if name not in self.file.declarations:
            raise CannotEvaluate(node, f"nothing is called {name}")
        return self.resolve(name)

    def of_parenthesized_expression(self, node: Node, names: Mapping[str, Any]) -> Any:
        return self.value(node.named_children[0], names)

    def of_for_statement(self, node: Node, names: Mapping[str, Any]) -> list[Any]:
        return [self.value(node.named_children[-1], each) for each in self.turns(node, names)]

    def of_ternary_expression(self, node: Node, names: Mapping[str, Any]) -> Any:
        condition, yes, no = node.named_children
        return self.value(yes if self.value(condition, names) else no, names)

    def of_unary_expression(self, node: Node, names: Mapping[str, Any]) -> Any:
        value = self.value(node.named_children[0], names)
        return not value if node.children[0].type == "!" else -value

    def of_binary_expression(self, node: Node, names: Mapping[str, Any]) -> Any:
        left, right = node.named_children
        first = self.value(left, names)
        lazily: dict[str, Callable[[], Any]] = {
            "&&": lambda: bool(first) and bool(self.value(right, names)),
            "||": lambda: bool(first) or bool(self.value(right, names)),
            "??": lambda: self.value(right, names) if first is None else first,
            "==": lambda: first == self.value(right, names),
            "!=": lambda: first != self.value(right, names),
            "+": lambda: first + self.value(right, names),
            "-": lambda: first - self.value(right, names),
            "<": lambda: first < self.value(right, names),
            ">": lambda: first > self.value(right, names),
        }
        operator = node.children[1].type
        if operator not in lazily:
            raise CannotEvaluate(node, f"house style: no operator {operator}")
        return lazily[operator]()

    def of_call_expression(self, node: Node, names: Mapping[str, Any]) -> Any:
        name = text_of(node.named_children[0])
        arguments = [self.value(child, names) for child in node.named_children[1].named_children]
        if name not in FUNCTIONS:
            raise CannotEvaluate(node, f"unknown function {name}")
        if name == "loadTextContent":
            arguments.insert(0, self.file.path.parent)
        try:
            return FUNCTIONS[name](*arguments)
        except (TypeError, ValueError, AttributeError, OSError, IndexError) as error:
            raise CannotEvaluate(node, f"{name}(): {error}") from error

    def of_subscript_expression(self, node: Node, names: Mapping[str, Any]) -> Any:
        whole, place = (self.value(child, names) for child in node.named_children)
        try:
            return unknown(f"{whole}[{place}]") if isinstance(whole, Unknown) else whole[place]
        except (KeyError, IndexError, TypeError) as error:
            raise CannotEvaluate(node, f"there is no [{place!r}] in it") from error

    def of_member_expression(self, node: Node, names: Mapping[str, Any]) -> Any:
        whole, name = self.value(node.named_children[0], names), text_of(node.named_children[1])
        if isinstance(whole, Resource | Called):
            found = whole.member(name)
        elif isinstance(whole, Unknown):
            found = unknown(f"{whole}.{name}")
        else:
            found = whole.get(name) if isinstance(whole, Mapping) else None
        if found is None:
            raise CannotEvaluate(node, f"there is no {name} in {text_of(node.named_children[0])}")
        return found


@dataclass(frozen=True, slots=True)
class Called:
    """A module that was called."""

    symbol: str
    outputs: Mapping[str, Any]

    def member(self, name: str) -> Any:
        return self.outputs if name == "outputs" else None
