"""Reads Bicep files: what each declares, and whether it keeps to the house style (docs/infrastructure.md)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}
PLAIN_TYPES = {"string", "int", "bool", "object", "array"}
NOT_HOUSE_STYLE = {
    "import_statement",
    "import_functionality",
    "user_defined_function",
    "type_declaration",
    "lambda_expression",
    "assert_statement",
    "spread_syntax",
    "union_type",
    "nullable_type",
    "array_type",
    "metadata_declaration",
    "nullable_return_type",
}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong, and where: a path from the templates' folder and a line, from 1."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Declaration:
    kind: str
    name: str
    node: Node = field(repr=False)
    decorators: Mapping[str, tuple[Node, ...]] = field(repr=False)
    type: str = ""
    """A parameter's or output's type; a resource's type with its version; a module's path."""
    value: Node | None = field(default=None, repr=False)
    existing: bool = False

    @property
    def line(self) -> int:
        return self.node.start_point[0] + 1


@dataclass(frozen=True, slots=True)
class BicepFile:
    path: Path
    name: str
    root: Node = field(repr=False)
    declarations: Mapping[str, Declaration]
    outputs: Mapping[str, Declaration]
    duplicates: tuple[Declaration, ...]
    scope: str

    def of_kind(self, kind: str) -> list[Declaration]:
        return [each for each in self.declarations.values() if each.kind == kind]

    def fault(self, line: int, text: str) -> Fault:
        return Fault(self.name, line, text)


def read(path: Path, folder: Path) -> BicepFile:
    return replace(described(path.read_bytes(), path.relative_to(folder).as_posix()), path=path)


@lru_cache(maxsize=1024)
def described(source: bytes, name: str) -> BicepFile:
    """A file's content, wherever it lies; the same content is read once."""
    root = Parser(Language(tree_sitter_bicep.language())).parse(source).root_node
    found: dict[str, Declaration] = {}
    outputs: dict[str, Declaration] = {}
    duplicates: list[Declaration] = []
    for each in declared(root):
        names = outputs if each.kind == "output" else found
        if each.name in names:
            duplicates.append(each)
        names[each.name] = each
    return BicepFile(Path(name), name, root, found, outputs, tuple(duplicates), target_scope(root))


def target_scope(root: Node) -> str:
    for node in root.named_children:
        if node.type == "target_scope_assignment":
            return text_of(node.named_children[0]).strip("'")
    return "resourceGroup"


def declared(root: Node) -> Iterator[Declaration]:
    decorators: dict[str, tuple[Node, ...]] = {}
    for node in root.named_children:
        if node.type == "decorators":
            decorators = dict(decorator(each) for each in node.named_children)
        elif node.type in KINDS:
            yield declaration(node, decorators)
            decorators = {}


def decorator(node: Node) -> tuple[str, tuple[Node, ...]]:
    call = node.named_children[0]
    name, *rest = call.named_children
    arguments = [argument for each in rest if each.type == "arguments" for argument in each.named_children]
    return text_of(name), tuple(arguments)


def declaration(node: Node, decorators: Mapping[str, tuple[Node, ...]]) -> Declaration:
    kind = KINDS[node.type]
    name, *rest = node.named_children
    label = ""
    if kind in ("param", "output") and rest and rest[0].type != "object":
        label, rest = text_of(rest[0]), rest[1:]
    elif kind in ("resource", "module") and rest:
        label, rest = text_of(rest[0]).strip("'"), rest[1:]
    existing = any(child.type == "existing" for child in node.children)
    return Declaration(kind, text_of(name), node, decorators, label, rest[-1] if rest else None, existing)


def text_of(node: Node) -> str:
    return (node.text or b"").decode()


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


# ── Syntax and house style ───────────────────────────────────────────────────────────────────────


def style_faults(file: BicepFile) -> Iterator[Fault]:
    for node in walk(file.root):
        line = node.start_point[0] + 1
        if node.is_missing or node.type == "ERROR":
            yield file.fault(line, f"syntax: near {text_of(node)[:40]!r}")
        elif node.type in NOT_HOUSE_STYLE:
            yield file.fault(line, f"house style: no {node.type.replace('_', ' ')}")
    for each in [*file.of_kind("param"), *file.outputs.values()]:
        if each.type not in PLAIN_TYPES:
            yield file.fault(each.line, f"house style: {each.name} has the type {each.type!r}, not a plain one")
    yield from line_faults(file)


def line_faults(file: BicepFile) -> Iterator[Fault]:
    for number, line in enumerate(text_of(file.root).splitlines(), 1):
        if re.match(r"\s*[?:]\s", line):
            yield file.fault(number, "house style: a line starts with ? or :")
        if line != line.rstrip():
            yield file.fault(number, "house style: blanks at the end of the line")
