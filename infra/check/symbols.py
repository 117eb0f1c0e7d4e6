"""Names: each is declared once, used somewhere, and found where it is used; no circles."""

from collections.abc import Iterator

from tree_sitter import Node

from infra.check.functions import FUNCTIONS
from infra.check.tree import BicepFile, Declaration, Fault, text_of, walk

DECORATORS = {
    "description", "allowed", "secure", "minValue", "maxValue", "minLength", "maxLength", "batchSize",
}  # fmt: skip


def symbol_faults(file: BicepFile) -> Iterator[Fault]:
    for each in file.duplicates:
        yield file.fault(each.line, f"{each.name} is declared twice")
    used: dict[str, set[str]] = {}
    for each in [*file.declarations.values(), *file.outputs.values()]:
        used[each.name if each.kind != "output" else f"output {each.name}"] = names = set()
        yield from declaration_faults(file, each, names)
    yield from unused(file, used)
    yield from circles(file, used)


def declaration_faults(file: BicepFile, declaration: Declaration, used: set[str]) -> Iterator[Fault]:
    """Adds the names that the declaration uses to `used`."""
    for node, loop_names in identifiers(declaration):
        name, line = text_of(node), node.start_point[0] + 1
        if is_called(node):
            if name not in FUNCTIONS:
                yield file.fault(line, f"unknown function {name}")
        elif name in file.declarations:
            used.add(name)
        elif name not in loop_names:
            yield file.fault(line, f"nothing is called {name}")
    for name in declaration.decorators.keys() - DECORATORS:
        yield file.fault(declaration.line, f"unknown decorator @{name}")


def identifiers(declaration: Declaration) -> Iterator[tuple[Node, frozenset[str]]]:
    """Every name that an expression of this declaration uses, with the loop variables that are known there."""
    if declaration.value is not None:
        yield from names_below(declaration.value, frozenset())


def names_below(node: Node, loop_names: frozenset[str]) -> Iterator[tuple[Node, frozenset[str]]]:
    if node.type == "identifier":
        yield node, loop_names
        return
    children = node.named_children
    if node.type == "object_property" and children[0].type == "identifier":
        children = children[1:]
    if node.type == "for_statement":
        loop_names = loop_names | loop_variables(node)
        children = children[1:]
    for child in children:
        yield from names_below(child, loop_names)


def loop_variables(node: Node) -> frozenset[str]:
    first = node.named_children[0]
    if first.type == "for_loop_parameters":
        return frozenset(text_of(each) for each in first.named_children)
    return frozenset({text_of(first)})


def is_called(node: Node) -> bool:
    return node.parent is not None and node.parent.type == "call_expression" and node.parent.named_children[0] == node


def unused(file: BicepFile, used: dict[str, set[str]]) -> Iterator[Fault]:
    wanted = set().union(*(names - {owner} for owner, names in used.items()), set())
    for each in file.declarations.values():
        idle = each.kind in ("param", "var") or each.existing
        if idle and each.name not in wanted and not has_children(each):
            yield file.fault(each.line, f"{each.kind} {each.name} is not used")


def has_children(declaration: Declaration) -> bool:
    """A resource that holds others may be there for their sake alone."""
    return declaration.value is not None and any(
        node.type == "resource_declaration" for node in walk(declaration.value)
    )


def circles(file: BicepFile, used: dict[str, set[str]]) -> Iterator[Fault]:
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> Iterator[Fault]:
        if name in above:
            line = file.declarations[name].line
            yield file.fault(line, f"a circle: {' → '.join([*above[above.index(name) :], name])}")
        elif name not in done:
            for other in sorted(used.get(name, ())):
                yield from visit(other, (*above, name))
            done.add(name)

    for name in file.declarations:
        yield from visit(name, ())
