"""Resources against Azure's own description of them: property names, their level, kinds, required and read-only.

The description (schemas.json) is a snapshot, and older than some versions that the templates use: what it lacks and
is known to exist stands in `NEWER`.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.check.evaluate import Deployment, Resource
from infra.check.functions import Unknown
from infra.check.tree import Fault

SCHEMAS = Path(__file__).with_name("schemas.json")
API_VERSIONS = {
    "Authorization/locks": "2020-05-01",
    "Authorization/roleAssignments": "2022-04-01",
    "Authorization/roleDefinitions": "2022-04-01",
    "Cache/redisEnterprise": "2025-07-01",
    "Cdn/profiles": "2025-06-01",
    "Consumption/budgets": "2024-08-01",
    "DBforPostgreSQL/flexibleServers": "2025-08-01",
    "Dashboard/dashboards": "2025-08-01",
    "Dashboard/grafana": "2025-08-01",
    "Insights/actionGroups": "2023-01-01",
    "Insights/components": "2020-02-02",
    "Insights/diagnosticSettings": "2021-05-01-preview",
    "Insights/metricAlerts": "2018-03-01",
    "Insights/scheduledQueryRules": "2023-12-01",
    "Insights/webtests": "2022-06-15",
    "KeyVault/vaults": "2024-11-01",
    "ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Network/FrontDoorWebApplicationFirewallPolicies": "2025-03-01",
    "Network/natGateways": "2025-05-01",
    "Network/networkSecurityGroups": "2025-05-01",
    "Network/privateDnsZones": "2024-06-01",
    "Network/privateEndpoints": "2025-05-01",
    "Network/publicIPAddresses": "2025-05-01",
    "Network/virtualNetworks": "2025-05-01",
    "OperationalInsights/workspaces": "2025-07-01",
    "Resources/resourceGroups": "2024-11-01",
    "Storage/storageAccounts": "2025-06-01",
    "Web/serverfarms": "2025-03-01",
    "Web/sites": "2025-03-01",
}
"""Children have the version of the resource they belong to. Raise one only when `az bicep build` knows the new one."""
NEWER = {
    "Microsoft.Web/sites": {"properties.functionAppConfig.siteUpdateStrategy"},
}
NOT_DESCRIBED = {
    "Microsoft.Web/sites/config": "app settings: any name; tests/infra/test_app_settings.py judges them",
}
FROM_BICEP = {"parent", "scope", "name", "dependsOn"}


@cache
def schemas() -> Mapping[str, Any]:
    return json.loads(SCHEMAS.read_text())


def schema_faults(deployment: Deployment) -> Iterator[Fault]:
    for resource in deployment.resources:
        yield from version_faults(resource)
        schema = schemas().get(resource.type)
        if schema is not None:
            body = {name: value for name, value in resource.body.items() if name not in FROM_BICEP}
            yield from object_faults(resource, "", body, schema, allowed_missing={"name", "location"})
        elif resource.type not in NOT_DESCRIBED:
            yield resource.fault(f"{resource.type} is not in schemas.json: see make_schemas.py")


def version_faults(resource: Resource) -> Iterator[Fault]:
    provider, *path = resource.type.removeprefix("Microsoft.").split("/")
    wanted = API_VERSIONS.get(f"{provider}/{path[0]}")
    if wanted != resource.version:
        yield resource.fault(f"API version {resource.version}, and {wanted or 'none'} is on the list")
    if len(path) > 1:
        above = resource.parent.type if resource.parent else "none"
        if above != resource.type.rpartition("/")[0]:
            yield resource.fault(f"a child of {resource.type.rpartition('/')[0]} whose parent is {above}")
    if {"name", "location"} & required(resource) - resource.body.keys():
        yield resource.fault("it has no name or location")


def required(resource: Resource) -> set[str]:
    properties = schemas().get(resource.type, {}).get("properties", {})
    return {"name"} | {name for name, (_, flag) in properties.items() if flag == "required"} & {"location"}


def object_faults(
    resource: Resource, path: str, value: Mapping[str, Any], schema: Mapping[str, Any], allowed_missing: set[str]
) -> Iterator[Fault]:
    known = schema["properties"]
    for name, each in value.items():
        place = f"{path}{name}"
        if name not in known:
            if not schema.get("others") and place not in NEWER.get(resource.type, ()):
                yield resource.fault(f"there is no property {place}")
            continue
        kind, flag = known[name]
        if flag == "read-only":
            yield resource.fault(f"{place} is read-only")
        else:
            yield from value_faults(resource, place, each, kind)
    for name, (_, flag) in known.items():
        if flag == "required" and name not in value and name not in allowed_missing:
            yield resource.fault(f"{path}{name} is required")


def value_faults(resource: Resource, place: str, value: Any, kind: Any) -> Iterator[Fault]:
    if isinstance(value, Unknown) or kind == "any":
        return
    if isinstance(kind, Mapping):
        if isinstance(value, Mapping):
            yield from object_faults(resource, f"{place}.", value, kind, allowed_missing=set())
        else:
            yield resource.fault(f"{place} must be an object")
    elif isinstance(kind, list):
        if isinstance(value, list):
            for item in value:
                yield from value_faults(resource, f"{place}[]", item, kind[0])
        else:
            yield resource.fault(f"{place} must be a list")
    elif not fits(value, kind):
        yield resource.fault(f"{place} is {value!r}, and must be {kind}")


def fits(value: Any, kind: str) -> bool:
    if kind in ("string", "int", "bool"):
        wanted = {"string": str, "int": int, "bool": bool}[kind]
        return isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
    return value in kind.split(" | ")
