"""The templates have no fault, and the checker finds each fault that is put into them (docs/infrastructure.md)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.process import ROOT
from infra.check import faults
from infra.check.schema import schemas
from tests.infra.broken import is_found


def test_nothing_is_wrong_with_the_templates() -> None:
    assert [str(fault) for fault in faults.all_faults()] == []


def test_the_command_says_so_and_fails_when_something_is(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "infra.check"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Bicep files: nothing wrong.\n")


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_an_environment_is_whole(name: str) -> None:
    made = faults.environment(name)
    kinds = {resource.type.removeprefix("Microsoft.") for resource in made.resources}
    assert {
        "Web/sites", "Storage/storageAccounts", "DBforPostgreSQL/flexibleServers", "Cache/redisEnterprise",
        "KeyVault/vaults", "OperationalInsights/workspaces", "Insights/components", "Cdn/profiles",
        "Network/FrontDoorWebApplicationFirewallPolicies", "Network/virtualNetworks", "Consumption/budgets",
    } <= kinds  # fmt: skip
    assert len(made.of_type("Insights/scheduledQueryRules")) == 5
    assert made.outputs["FUNCTION_APP_NAME"].startswith(f"func-pinksync-{name}-")


def test_each_environment_names_its_things_apart() -> None:
    names = [{resource.name for resource in faults.environment(name).of_type("Web/sites")} for name in ("dev", "prod")]
    assert names[0].isdisjoint(names[1])


def test_the_parameter_files_are_what_azure_reads() -> None:
    for path in sorted(faults.TEMPLATES.rglob("*.parameters.json")):
        content = json.loads(path.read_text())
        assert content.keys() == {"$schema", "contentVersion", "parameters"}, path
        assert all(each.keys() == {"value"} for each in content["parameters"].values()), path


def test_the_snapshot_knows_where_each_schema_came_from() -> None:
    sources = {schema["from"].split()[0] for schema in schemas().values()}
    assert sources <= {"azmcp", "by", *{source for source in sources if source.startswith("azure-mgmt-")}}


MAIN, APP, SITE = "main.bicep", "modules/functionapp.bicep", "modules/storage.bicep"
SEEDED = {
    "a brace is missing": (SITE, "  kind: 'StorageV2'\n  sku: {", "  kind: 'StorageV2'\n  sku: ", "syntax"),
    "a quote is missing": (SITE, "'StorageV2'", "'StorageV2", "syntax"),
    "a bracket is missing": (APP, "alwaysReady: alwaysReadyInstances == 0 ? [] : [", "alwaysReady: alwaysReadyInstances == 0 ? [ : [", "syntax"),
    "a keyword is misspelt": (SITE, "param tags object", "parm tags object", "syntax"),
    "a parameter has no type": (SITE, "param sku string", "param sku", "sku"),
    "a type is nullable": (SITE, "param sku string", "param sku string?", "house style"),
    "a typed list": (SITE, "param allowedAddresses array", "param allowedAddresses string[]", "house style"),
    "an unknown type": (SITE, "param private bool", "param private boolean", "not a plain one"),
    "a type of our own": (SITE, "param private bool", "type flag = bool\nparam private bool", "house style"),
    "a line starts with ?": (APP, "empty(frontDoorId) ? callers : frontDoorOnly", "empty(frontDoorId)\n      ? callers : frontDoorOnly", "a line starts with ?"),
    "blanks at a line's end": (SITE, "param tags object", "param tags object ", "blanks at the end"),
    "a parameter file of another kind": (SITE, "param tags object", "import * as shared from 'shared.bicep'\nparam tags object", "house style"),
    "a variable that is not there": (APP, "serverFarmId: plan.id", "serverFarmId: plans.id", "nothing is called plans"),
    "a variable in an unused branch": (APP, "priority: 200 + i", "priority: 200 + j", "nothing is called j"),
    "an unknown function": (MAIN, "take(uniqueString(", "take(uniqString(", "unknown function uniqString"),
    "a function with too few values": (MAIN, "location), 6)", "location))", "take()"),
    "an unknown decorator": (SITE, "@minLength(3)", "@minimumLength(3)", "unknown decorator @minimumLength"),
    "a name twice": (SITE, "param sku string", "param sku string\nparam sku string", "declared twice"),
    "an unused parameter": (SITE, "param tags object", "param tags object\nparam extra string = ''", "extra is not used"),
    "an unused variable": (APP, "var secretUri", "var spare = 1\nvar secretUri", "spare is not used"),
    "an unused existing resource": ("modules/locks.bicep", "resource onVault", "resource spare 'Microsoft.KeyVault/vaults@2024-11-01' existing = {\n  name: vaultName\n}\n\nresource onVault", "spare is not used"),
    "a circle": (MAIN, "var part = 'pinksync-${environmentName}-${regionCode}'", "var part = 'pinksync-${environmentName}-${appName}'", "a circle"),
    "a key twice": (APP, "KEY_MODE: keyMode", "KEY_MODE: keyMode\n    ENVIRONMENT: 'x'", "stands twice"),
    "a missing module file": (MAIN, "modules/redis.bicep", "modules/rediss.bicep", "there is no file"),
    "a module that nobody calls": (MAIN, "module locks 'modules/locks.bicep'", "module locks 'modules/budget.bicep'", "no template calls it"),
    "a module parameter too few": (MAIN, "    keyMode: keyMode\n    storageBlob", "    storageBlob", "is not given keyMode"),
    "a module parameter too many": (MAIN, "    appPrincipalId: identity.outputs.appPrincipalId\n", "    appPrincipalId: identity.outputs.appPrincipalId\n    extra: 1\n", "has no parameter extra"),
    "a module parameter misspelt": (MAIN, "highAvailability: redisHighAvailability", "highAvailabilty: redisHighAvailability", "has no parameter highAvailabilty"),
    "a module parameter of another type": (MAIN, "private: isPrivate", "private: networkMode", "not of type bool"),
    "an output that is not there": (MAIN, "vault.outputs.uri", "vault.outputs.url", "there is no url"),
    "a module without a scope": (MAIN, "module budget 'modules/budget.bicep' = {\n  scope: group\n", "module budget 'modules/budget.bicep' = {\n", "module budget has no scope"),
    "a loop over a text": ("modules/postgres.bicep", "for setting in settings", "for setting in version", "which is not a list"),
    "a file that cannot be read": ("modules/alerts.bicep", "../kql/cache-miss.kql", "../kql/cache-mis.kql", "loadTextContent()"),
    "a property misspelt": (SITE, "allowBlobPublicAccess", "allowBlobPublicAcess", "no property properties.allowBlobPublicAcess"),
    "a property on the wrong level": (SITE, "  kind: 'StorageV2'", "  minimumTlsVersion: 'TLS1_2'\n  kind: 'StorageV2'", "no property minimumTlsVersion"),
    "a property deep down misspelt": (APP, "perInstanceConcurrency", "perInstanceConcurency", "triggers.http.perInstanceConcurency"),
    "a text for a truth value": (SITE, "supportsHttpsTrafficOnly: true", "supportsHttpsTrafficOnly: 'true'", "must be bool"),
    "a text for a number": (SITE, "days: 14", "days: '14'", "must be int"),
    "a value outside the list": (SITE, "defaultAction: 'Deny'", "defaultAction: 'Refuse'", "must be Allow | Deny"),
    "an object for a list": (SITE, "ipRules: [for address in allowedAddresses: {\n        value: address\n        action: 'Allow'\n      }]", "ipRules: {}", "must be a list"),
    "a read-only property": (SITE, "accessTier: 'Hot'", "accessTier: 'Hot'\n    provisioningState: 'Succeeded'", "is read-only"),
    "a required property is missing": (SITE, "  sku: {\n    name: sku\n  }\n", "", "sku is required"),
    "a resource without a place": (SITE, "  location: location\n", "", "no name or location"),
    "a misspelt resource": (SITE, "'Microsoft.Storage/storageAccounts@", "'Microsoft.Storage/storageAccount@", "is not in schemas.json"),
    "an API version off the list": (SITE, "storageAccounts@2025-06-01", "storageAccounts@2019-06-01", "API version 2019-06-01"),
    "a child without its parent": ("modules/postgres.bicep", "resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01' = {\n  parent: server\n", "resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01' = {\n", "whose parent is none"),
    "a child of another": (SITE, "  parent: blobs\n", "  parent: account\n", "whose parent is Microsoft.Storage/storageAccounts"),
    "a default outside @allowed": (MAIN, "param networkMode string = 'private'", "param networkMode string = 'open'", "networkMode is 'open'"),
    "a value outside @allowed": ("parameters/dev.parameters.json", "\"firewalled\"", "\"open\"", "against its @allowed"),
    "a value below @minValue": ("parameters/dev.parameters.json", "\"maximumInstances\": {\n      \"value\": 40", "\"maximumInstances\": {\n      \"value\": 10", "against its @minValue"),
    "a value too few in a parameter file": ("parameters/prod.parameters.json", "\"owner\"", "\"ownr\"", "parameter owner is not given"),
    "a value too many in a parameter file": ("parameters/prod.parameters.json", "\"owner\"", "\"ownr\"", "there is no parameter ownr"),
    "a number for a text in a parameter file": ("parameters/prod.parameters.json", "\"value\": \"0.05\"", "\"value\": 0.05", "not of type string"),
    "a resource in the wrong scope": (MAIN, "module identity", "resource spare 'Microsoft.KeyVault/vaults@2024-11-01' existing = {\n  name: spare.name\n}\n\nmodule identity", "cannot be made in a subscription"),
    "a secret in an output": ("modules/redis.bicep", "output host string", "output key string = database.listKeys().primaryKey\noutput host string", "gives a secret away"),
    "a secure parameter in an output": ("modules/redis.bicep", "param skuName string", "@secure()\nparam skuName string\noutput copy string = skuName", "gives a secret away"),
    "a secret with a default": ("modules/redis.bicep", "param skuName string", "@secure()\nparam skuName string = 'hunter2'", "has a default"),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_fault_is_found(name: str, tmp_path: Path) -> None:
    file, old, new, said = SEEDED[name]
    assert is_found(said, tmp_path, file, old, new)
