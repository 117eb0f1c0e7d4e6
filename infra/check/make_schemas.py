"""Makes schemas.json anew: what Azure's resources look like, from packages of Microsoft's.

    python -m venv /tmp/schemas
    /tmp/schemas/bin/pip install msmcp-azure==3.0.0 azure-mgmt-postgresqlflexibleservers==3.0.0 \\
        azure-mgmt-redisenterprise==3.1.0 azure-mgmt-monitor==7.0.0 azure-mgmt-frontdoor==2.0.0 \\
        azure-mgmt-privatedns==2.0.0
    /tmp/schemas/bin/python -m infra.check.make_schemas

`azmcp` (msmcp-azure) carries Bicep's own types for most resources, at one version each; the models of the azure-mgmt
packages know the names for the others. The snapshot keeps property names, kinds, what is required and what is
read-only: {resource: {"from": source, "body": object}, ...} with object = {"properties": {name: [type, flag]}}.
"""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("schemas.json")
BY_AZMCP = [
    "Authorization/roleAssignments",
    "Cdn/profiles",
    "Cdn/profiles/afdEndpoints",
    "Cdn/profiles/afdEndpoints/routes",
    "Cdn/profiles/customDomains",
    "Cdn/profiles/originGroups",
    "Cdn/profiles/originGroups/origins",
    "Cdn/profiles/securityPolicies",
    "Consumption/budgets",
    "Dashboard/dashboards",
    "Dashboard/grafana",
    "Insights/components",
    "Insights/webtests",
    "KeyVault/vaults",
    "ManagedIdentity/userAssignedIdentities",
    "ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
    "Network/natGateways",
    "Network/networkSecurityGroups",
    "Network/privateEndpoints",
    "Network/privateEndpoints/privateDnsZoneGroups",
    "Network/publicIPAddresses",
    "Network/virtualNetworks",
    "OperationalInsights/workspaces",
    "Resources/resourceGroups",
    "Storage/storageAccounts",
    "Storage/storageAccounts/blobServices",
    "Storage/storageAccounts/blobServices/containers",
    "Web/serverfarms",
    "Web/sites",
    "Authorization/roleDefinitions",
]
BY_MANAGEMENT_PACKAGE = {
    "DBforPostgreSQL/flexibleServers": ("postgresqlflexibleservers", "Server"),
    "DBforPostgreSQL/flexibleServers/databases": ("postgresqlflexibleservers", "Database"),
    "DBforPostgreSQL/flexibleServers/administrators": (
        "postgresqlflexibleservers",
        "AdministratorMicrosoftEntraAdd",
    ),
    "DBforPostgreSQL/flexibleServers/configurations": ("postgresqlflexibleservers", "Configuration"),
    "DBforPostgreSQL/flexibleServers/firewallRules": ("postgresqlflexibleservers", "FirewallRule"),
    "Cache/redisEnterprise": ("redisenterprise", "Cluster"),
    "Cache/redisEnterprise/databases": ("redisenterprise", "Database"),
    "Cache/redisEnterprise/databases/accessPolicyAssignments": ("redisenterprise", "AccessPolicyAssignment"),
    "Insights/actionGroups": ("monitor", "ActionGroupResource"),
    "Insights/scheduledQueryRules": ("monitor", "ScheduledQueryRuleResource"),
    "Insights/metricAlerts": ("monitor", "MetricAlertResource"),
    "Network/FrontDoorWebApplicationFirewallPolicies": ("frontdoor", "WebApplicationFirewallPolicy"),
    "Network/privateDnsZones": ("privatedns", "PrivateZone"),
    "Network/privateDnsZones/virtualNetworkLinks": ("privatedns", "VirtualNetworkLink"),
}
BY_HAND = {
    "Authorization/locks": {"level": ["string", "required"], "notes": ["string", ""]},
    "Insights/diagnosticSettings": {
        "workspaceId": ["string", ""],
        "storageAccountId": ["string", ""],
        "logAnalyticsDestinationType": ["string", ""],
        "logs": [["any"], ""],
        "metrics": [["any"], ""],
    },
}
"""What neither of them has."""
DEEPEST = 8


def main() -> int:
    found = {f"Microsoft.{name}": by_hand(properties) for name, properties in BY_HAND.items()}
    for name, (package, model) in BY_MANAGEMENT_PACKAGE.items():
        found[f"Microsoft.{name}"] = from_management(package, model)
    with ThreadPoolExecutor(2) as workers:
        names = [f"Microsoft.{name}" for name in BY_AZMCP]
        found |= dict(zip(names, workers.map(from_azmcp, names), strict=True))
    for schema in filter(None, found.values()):
        schema["properties"]["name"] = ["string", "required"]
    missing = [name for name, schema in found.items() if schema is None]
    if missing:
        print("Not known:", ", ".join(missing), file=sys.stderr)
    known = {name: schema for name, schema in sorted(found.items()) if schema}
    lines = [f"{json.dumps(name)}: {json.dumps(schema, separators=(',', ':'))}" for name, schema in known.items()]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(known)} resources, {TARGET.stat().st_size // 1024} KiB")
    return 0


def by_hand(properties: dict[str, Any]) -> dict[str, Any]:
    return {"from": "by hand", "properties": {"properties": [{"properties": properties}, "required"]}}


# ── azmcp ────────────────────────────────────────────────────────────────────────────────────────


def from_azmcp(name: str) -> dict[str, Any] | None:
    command = [str(Path(sys.executable).with_name("azmcp")), "bicepschema", "get", "--resource-type", name]
    environment = {**os.environ, "AZURE_MCP_COLLECT_TELEMETRY": "false"}
    answer = json.loads(subprocess.run(command, capture_output=True, env=environment, timeout=120).stdout)
    if answer["status"] != 200:
        return None
    parts = answer["results"]["BicepSchemaResult"]
    objects = {part["name"]: part for part in parts if part["$type"] in ("Object", "DiscriminatedObject")}
    [resource] = [part for part in parts if part["$type"] == "Resource"]
    return {"from": f"azmcp {resource['name'].partition('@')[2]}", **expanded(resource["bodyType"], objects, 0)}


def expanded(part: dict[str, Any], objects: dict[str, Any], depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"properties": {}}
    for each in [*part.get("properties", []), *part.get("baseProperties", []), *discriminated(part)]:
        if each["name"] in ("apiVersion", "type") and depth == 0:
            continue
        flags = each.get("flags", "")
        flag = "read-only" if "ReadOnly" in flags else "required" if "Required" in flags else ""
        kind = any_kind() if flag == "read-only" else kind_of(each["type"], objects, depth)
        made["properties"][each["name"]] = [kind, flag]
    if "additionalPropertiesType" in part:
        made["others"] = True
    return made


def discriminated(part: dict[str, Any]) -> list[dict[str, Any]]:
    """The properties of every kind that it may be of; only the one that tells them apart is required."""
    found = {each["name"]: dict(each) for element in part.get("elements", []) for each in element["properties"]}
    for name, each in found.items():
        each["flags"] = (
            "Required" if name == part.get("discriminator") else each.get("flags", "").replace("Required", "")
        )
        if name == part.get("discriminator"):
            each["type"] = "string"
    return list(found.values())


def kind_of(text: str, objects: dict[str, Any], depth: int) -> Any:
    if text.endswith("[]"):
        return [kind_of(text[:-2], objects, depth)]
    if text in objects:
        return expanded(objects[text], objects, depth + 1) if depth < DEEPEST else any_kind()
    if text in ("string", "int", "bool"):
        return text
    if " | " in text and "string" not in text.split(" | "):
        return text
    return "string" if " | " in text or (text.isidentifier() and text != "any") else any_kind()


def any_kind() -> str:
    return "any"


# ── azure-mgmt packages ──────────────────────────────────────────────────────────────────────────


def from_management(package: str, model: str) -> dict[str, Any]:
    module = importlib.import_module(f"azure.mgmt.{package}.models")
    version = importlib.import_module(f"azure.mgmt.{package}._version").VERSION
    kind = getattr(module, model)
    made = described(module, kind, 0)
    for name in ("id", "type", "systemData"):
        made["properties"][name] = ["any", "read-only"]
    return {"from": f"azure-mgmt-{package} {version}", **made}


def described(module: Any, kind: type, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        return {"properties": {}, "others": True}
    made: dict[str, Any] = {"properties": {}}
    if hasattr(kind, "_attribute_map"):
        by_attribute_map(made, module, kind, depth)
    else:
        by_rest_fields(made, module, kind, depth)
    for child in known_kinds(kind):
        for name, (child_kind, _) in described(module, child, depth + 1)["properties"].items():
            made["properties"].setdefault(name, [child_kind, ""])
    return made


def known_kinds(kind: type) -> list[type]:
    return [child for child in kind.__subclasses__() if child.__module__ == kind.__module__]


def by_attribute_map(made: dict[str, Any], module: Any, kind: Any, depth: int) -> None:
    for attribute, entry in kind._attribute_map.items():
        rules = kind._validation.get(attribute, {})
        flag = "read-only" if rules.get("readonly") else "required" if rules.get("required") else ""
        place, *rest = re.split(r"(?<!\\)\.", entry["key"])
        target = made["properties"]
        if rest:
            target = target.setdefault(place, [{"properties": {}}, ""])[0]["properties"]
            place, flag = rest[0], flag if flag != "required" else ""
        target[place.replace("\\.", ".")] = [mapped(module, entry["type"], depth), flag]


def mapped(module: Any, text: str, depth: int) -> Any:
    if text.startswith("["):
        return [mapped(module, text[1:-1], depth)]
    if text.startswith("{") or text == "object":
        return "any"
    simple = {"str": "string", "int": "int", "bool": "bool", "float": "any", "duration": "string"}
    found = getattr(module, text, None)
    if text in simple or not inspect.isclass(found) or not hasattr(found, "_attribute_map"):
        return simple.get(text, "any")
    return described(module, found, depth + 1)


def by_rest_fields(made: dict[str, Any], module: Any, kind: type, depth: int) -> None:
    for owner in reversed(kind.__mro__):
        for attribute, annotation in vars(owner).get("__annotations__", {}).items():
            field = vars(owner).get(attribute)
            if field is None or type(field).__name__ != "_RestField":
                continue
            text = str(annotation)
            optional = "Optional[" in text or "NoneType" in text
            flag = "read-only" if field._visibility == ["read"] else "" if optional else "required"
            made["properties"][field._rest_name_input or attribute] = [annotated(module, text, depth), flag]


def annotated(module: Any, text: str, depth: int) -> Any:
    text = re.sub(r"^(typing\.)?Optional\[(.*)\]$", r"\2", text.replace("ForwardRef", "")).strip("'\"()")
    if match := re.fullmatch(r"(?:typing\.)?[Ll]ist\[(.*)\]", text):
        return [annotated(module, match[1], depth)]
    if text.startswith(("Union[str", "typing.Union[str", "Literal", "typing.Literal")) or text == "str":
        return "string"
    found = getattr(module, text.rpartition(".")[2].strip("'\""), None)
    if inspect.isclass(found) and any(type(each).__name__ == "_RestField" for each in vars(found).values()):
        return described(module, found, depth + 1)
    return {"int": "int", "bool": "bool"}.get(text, "any")


if __name__ == "__main__":
    sys.exit(main())
