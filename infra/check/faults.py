"""All that can be found out about the templates without Azure. The compiler and what-if come in the workflow."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from infra.check.evaluate import Deployment, deploy
from infra.check.policy import policy_faults
from infra.check.schema import schema_faults
from infra.check.symbols import names_below, symbol_faults
from infra.check.tree import BicepFile, Fault, described, read, style_faults, text_of

TEMPLATES = Path(__file__).resolve().parent.parent / "bicep"
SUBSCRIPTION_TYPES = {
    "Microsoft.Resources/resourceGroups",
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Authorization/roleDefinitions",
}
BOOTSTRAP = {"environmentName": "prod", "location": "westeurope", "regionCode": "weu", "githubRepository": "a/b"}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "no front door": {"frontDoorSku": "none", "customHost": "", "allowedAddresses": ["192.0.2.1"]},
    "managed dashboards": {"dashboardMode": "managed", "githubRepository": "a/b", "networkMode": "private"},
    "through the pooler": {
        "postgresThroughPooler": True,
        "postgresTier": "GeneralPurpose",
        "postgresSku": "Standard_D2ds_v5",
    },
    "two developers": {"allowedAddresses": ["192.0.2.1", "192.0.2.2"]},
}
"""Choices that neither parameter file makes; each is laid over the one of dev."""


def all_faults(folder: Path = TEMPLATES) -> list[Fault]:
    return sorted(set(each_fault(folder)))


def each_fault(folder: Path) -> Iterator[Fault]:
    """As they are found, and maybe more than once; nothing is worked out while a file cannot be read."""
    files = [read(path, folder) for path in sorted(folder.rglob("*.bicep"))]
    found = [fault for file in files for fault in file_faults(file.root.text or b"", file.name)]
    yield from found
    if not any(fault.text.startswith("syntax") for fault in found):
        yield from (Fault(file.name, 1, "no template calls it") for file in uncalled(files))
        yield from deployment_faults(folder)


@lru_cache(maxsize=1024)
def file_faults(source: bytes, name: str) -> tuple[Fault, ...]:
    """What a file's own text shows."""
    file = described(source, name)
    return (*style_faults(file), *symbol_faults(file), *secret_faults(file), *scope_faults(file))


def secret_faults(file: BicepFile) -> Iterator[Fault]:
    """What is marked @secure has no default and does not come out again; keys are never asked for."""
    secure = {each.name for each in file.of_kind("param") if "secure" in each.decorators}
    for each in file.of_kind("param"):
        if each.name in secure and each.value is not None and text_of(each.value) != "''":
            yield file.fault(each.line, f"secret {each.name} has a default")
    for each in file.outputs.values():
        names = {text_of(node) for node, _ in names_below(each.value, frozenset())} if each.value else set()
        if names & secure or (each.value and ".list" in text_of(each.value)):
            yield file.fault(each.line, f"output {each.name} gives a secret away")


def scope_faults(file: BicepFile) -> Iterator[Fault]:
    for each in file.of_kind("resource"):
        if file.scope == "subscription" and each.type.partition("@")[0] not in SUBSCRIPTION_TYPES:
            yield file.fault(each.line, f"{each.type} cannot be made in a subscription")
        if file.scope != "subscription" and each.type.startswith("Microsoft.Resources/resourceGroups"):
            yield file.fault(each.line, "a resource group cannot be made in a resource group")
    for each in file.of_kind("module"):
        if file.scope == "subscription" and each.value is not None and "scope: group" not in text_of(each.value):
            yield file.fault(each.line, f"module {each.name} has no scope")


def uncalled(files: list[BicepFile]) -> Iterator[BicepFile]:
    called = {(file.path.parent / each.type).resolve() for file in files for each in file.of_kind("module")}
    return (file for file in files if file.path.parent.name == "modules" and file.path.resolve() not in called)


# ── Deployments ──────────────────────────────────────────────────────────────────────────────────


def deployment_faults(folder: Path) -> Iterator[Fault]:
    for template, values in deployments(folder):
        deployment = deploy(folder, template, values)
        yield from deployment.faults
        yield from schema_faults(deployment)
        yield from policy_faults(deployment, values)


def deployments(folder: Path = TEMPLATES) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each template with each set of values that it is judged by."""
    files = sorted((folder / "parameters").glob("*.parameters.json"))
    for path in files:
        yield "main.bicep", parameters(path)
    yield "main.bicep", substituted(parameters(folder / "main.parameters.json"))
    base = parameters(folder / "parameters" / "dev.parameters.json")
    for choice in VARIANTS.values():
        yield "main.bicep", {**base, **choice}
    yield "bootstrap.bicep", BOOTSTRAP


def parameters(path: Path) -> dict[str, Any]:
    return {name: each["value"] for name, each in json.loads(path.read_text())["parameters"].items()}


def substituted(values: Mapping[str, Any]) -> dict[str, Any]:
    """As azd would fill them in."""
    filled = {
        "environmentName": "dev",
        "location": "westeurope",
        "regionCode": "weu",
        "xanoApiUrl": "https://x.example",
    }
    return {name: filled.get(name, value) for name, value in values.items()}


def environment(name: str, folder: Path = TEMPLATES) -> Deployment:
    """What the parameter file of this environment makes."""
    return deploy(folder, "main.bicep", parameters(folder / "parameters" / f"{name}.parameters.json"))
