"""Each rule of infra/check/policy.py, broken once in the templates, speaks up."""

from pathlib import Path

import pytest

from infra.check import policy
from infra.check.faults import TEMPLATES, environment, parameters
from infra.check.policy import RULES
from tests.infra.broken import is_found

APP, STORAGE, VAULT = "modules/functionapp.bicep", "modules/storage.bicep", "modules/keyvault.bicep"
POSTGRES, REDIS, NETWORK = "modules/postgres.bicep", "modules/redis.bicep", "modules/network.bicep"
DOOR, ROUTES, PROD = "modules/frontdoor-profile.bicep", "modules/frontdoor-routes.bicep", "parameters/prod.parameters.json"

BREAKS: dict[str, list[tuple[str, str, str, str]]] = {
    "app_is_hardened": [
        (APP, "httpsOnly: true", "httpsOnly: false", "httpsOnly is False"),
        (APP, "minTlsVersion: '1.2'", "minTlsVersion: '1.0'", "siteConfig.minTlsVersion"),
        (APP, "ftpsState: 'Disabled'", "ftpsState: 'AllAllowed'", "siteConfig.ftpsState"),
        (APP, "type: 'UserAssigned'\n", "type: 'SystemAssigned, UserAssigned'\n", "a user-assigned identity, and no other"),
        (APP, "    keyVaultReferenceIdentity: identityId\n", "", "keyVaultReferenceIdentity is not set"),
        (APP, "name: 'FC1'", "name: 'EP1'", "must be Flex Consumption"),
        (APP, "version: '3.13'", "version: '3.12'", "functionAppConfig.runtime"),
    ],
    "only_the_front_door_may_call": [
        (APP, "ipSecurityRestrictionsDefaultAction: 'Deny'", "ipSecurityRestrictionsDefaultAction: 'Allow'", "DefaultAction"),
        (APP, "    headers: {\n      'x-azure-fdid': [\n        frontDoorId\n      ]\n    }\n", "", "more than our front door"),
        (APP, "'AzureFrontDoor.Backend'", "'0.0.0.0/0'", "more than our front door"),
        (APP, "empty(frontDoorId) ? callers : frontDoorOnly", "callers", "it is not let in"),
    ],
    "settings_hold_no_secret": [
        (APP, "'@Microsoft.KeyVault(SecretUri=${secretUri}/key-pepper)'", "'c2VjcmV0'", "KEY_PEPPER must be a reference"),
        (APP, "${secretUri}/cache-key)", "${secretUri}/cache-key/0a1b)", "CACHE_KEY must be a reference"),
        (APP, "${identityName}@", "${identityName}:hunter2@", "DATABASE_URL carries a password"),
        (APP, "?sslmode=verify-full", "?sslmode=prefer", "DATABASE_URL is an address without TLS"),
        (APP, "'rediss://", "'redis://", "REDIS_URL is an address without TLS"),
        (APP, "    ENVIRONMENT: ", "    WEBSITE_RUN_FROM_PACKAGE: '1'\n    ENVIRONMENT: ", "must not be set here"),
        (APP, "    AzureWebJobsStorage__credential: 'managedidentity'\n", "", "reached by identity"),
    ],
    "storage_is_closed": [
        (STORAGE, "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "allowSharedKeyAccess"),
        (STORAGE, "allowBlobPublicAccess: false", "allowBlobPublicAccess: true", "allowBlobPublicAccess"),
        (STORAGE, "minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 'TLS1_0'", "minimumTlsVersion"),
        (STORAGE, "defaultAction: 'Deny'", "defaultAction: 'Allow'", "networkAcls.defaultAction"),
        (STORAGE, "private ? 'Disabled' : 'Enabled'", "'Enabled'", "only private endpoints"),
        (STORAGE, "publicAccess: 'None'", "publicAccess: 'Blob'", "publicAccess"),
        (STORAGE, "value: address", "value: '${address}/8'", "is not one address"),
    ],
    "vault_is_closed": [
        (VAULT, "enableRbacAuthorization: true", "enableRbacAuthorization: false", "enableRbacAuthorization"),
        (VAULT, "enablePurgeProtection: true", "enablePurgeProtection: false", "enablePurgeProtection"),
        (VAULT, "private ? 'Disabled' : 'Enabled'", "'Enabled'", "only private endpoints"),
    ],
    "database_is_closed": [
        (POSTGRES, "passwordAuth: 'Disabled'", "passwordAuth: 'Enabled'", "authConfig.passwordAuth"),
        (POSTGRES, "private ? 'Disabled' : 'Enabled'", "'Enabled'", "only private endpoints"),
        (POSTGRES, "startIpAddress: address", "startIpAddress: '0.0.0.0'", "more than one address"),
        (POSTGRES, "value: 'on'", "value: 'off'", "require_secure_transport"),
        (PROD, "\"ZoneRedundant\"", "\"Disabled\"", "highAvailability.mode"),
    ],
    "redis_is_closed": [
        (REDIS, "accessKeysAuthentication: 'Disabled'", "accessKeysAuthentication: 'Enabled'", "accessKeysAuthentication"),
        (REDIS, "clientProtocol: 'Encrypted'", "clientProtocol: 'Plaintext'", "clientProtocol"),
        (REDIS, "publicNetworkAccess: 'Disabled'", "publicNetworkAccess: 'Enabled'", "publicNetworkAccess"),
    ],
    "front_door_filters": [
        (PROD, "\"Prevention\"", "\"Detection\"", "policySettings.mode"),
        (DOOR, "ruleType: 'RateLimitRule'", "ruleType: 'MatchRule'", "limits nobody's rate"),
        (DOOR, "managedRuleSets: managedRules", "managedRuleSets: []", "managed rules, and they are not used"),
    ],
    "front_door_speaks_tls_only": [
        (ROUTES, "forwardingProtocol: 'HttpsOnly'", "forwardingProtocol: 'MatchRequest'", "forwardingProtocol"),
        (ROUTES, "httpsRedirect: 'Enabled'", "httpsRedirect: 'Disabled'", "httpsRedirect"),
        (ROUTES, "    enabledState: 'Enabled'\n  }\n  dependsOn", "    enabledState: 'Enabled'\n    cacheConfiguration: {}\n  }\n  dependsOn", "kept in a cache"),
        (ROUTES, "minimumTlsVersion: 'TLS12'", "minimumTlsVersion: 'TLS10'", "tlsSettings.minimumTlsVersion"),
    ],
    "network_lets_nobody_in": [
        (NETWORK, "sourceAddressPrefix: functionsPrefix", "sourceAddressPrefix: '*'", "lets everybody in"),
        (NETWORK, "id: address.id", "id: network.id", "not the way out"),
        (NETWORK, "serviceName: 'Microsoft.App/environments'", "serviceName: 'Microsoft.Web/serverFarms'", "is delegated to"),
    ],
    "rights_are_the_least": [
        ("modules/rbac.bicep", "4633458b-17de-408a-b874-0445c86b69e6", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "not one that the app needs"),
        ("modules/rbac.bicep", "  scope: vault\n", "", "the whole resource group"),
        ("modules/rbac.bicep", "principalType: 'ServicePrincipal'", "principalType: 'User'", "not given to an identity of ours"),
        ("bootstrap.bicep", "    condition: '${mayGive} AND ${mayTake}'\n", "    condition: mayGive == mayTake ? '' : ''\n", "those of the app, and no others"),
        ("bootstrap.bicep", "var givenRoles = '", "var givenRoles = '8e3af657-a8ff-443c-a75c-2fe8c4bcb635, ", "those of the app, and no others"),
    ],
    "everything_is_watched": [
        ("modules/diagnostics.bicep", "  scope: vault\n", "  scope: account\n", "no diagnostic settings"),
        ("modules/monitoring.bicep", "disableLocalAuth: true", "disableLocalAuth: false", "features.disableLocalAuth"),
    ],
    "somebody_is_told": [
        (PROD, "\"name\": \"on-call\",\n        ", "", "there is no name"),
        ("modules/alerts.bicep", "smsReceivers: [for phone in phones: {\n      name: phone.name\n      countryCode: phone.countryCode\n      phoneNumber: phone.number\n    }]", "smsReceivers: empty(phones) ? [] : []", "by text message"),
        ("modules/alerts.bicep", "      actionGroups: [\n        group.id\n      ]", "      actionGroups: []", "that nobody hears of"),
        ("modules/alerts.bicep", "for rule in rules: {", "for rule in [rules[0]]: {", "not all there"),
    ],
    "production_is_locked": [
        ("modules/locks.bicep", "level: 'CanNotDelete'", "level: 'ReadOnly'", "no lock"),
        ("main.bicep", "if (environmentName == 'prod')", "if (environmentName == 'test')", "no lock"),
    ],
    "names_fit": [
        ("main.bicep", "'kv-pinksync-${environmentName}-${unique}'", "'kv-pinksync-${environmentName}-${regionCode}-${unique}'", "longer than 24"),
        ("main.bicep", "'log-${part}'", "'Log-${part}'", "not lower case"),
    ],
}  # fmt: skip


def test_every_rule_is_broken_here() -> None:
    assert [rule.__name__ for rule in RULES] == list(BREAKS)


@pytest.mark.parametrize(("file", "old", "new", "said"), [each for breaks in BREAKS.values() for each in breaks])
def test_a_broken_rule_speaks_up(file: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    assert is_found(said, tmp_path, file, old, new)


@pytest.mark.parametrize("name", [rule.__name__ for rule in RULES])
def test_each_rule_is_needed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, what it is there for goes unseen: no other rule says the same."""
    monkeypatch.setattr(policy, "RULES", [rule for rule in RULES if rule.__name__ != name])
    file, old, new, said = BREAKS[name][-1]
    assert not is_found(said, tmp_path, file, old, new)


def test_only_the_front_door_is_public_in_production() -> None:
    made = environment("prod")
    open_ones = {
        resource.type
        for resource in made.resources
        if "Enabled" in (resource.properties.get("publicNetworkAccess"), resource.properties.get("network", {}).get("publicNetworkAccess"))
    }  # fmt: skip
    assert open_ones == {"Microsoft.Web/sites"}, "the app is behind its rule for the front door, the rest is closed"
    assert parameters(TEMPLATES / "parameters/prod.parameters.json")["networkMode"] == "private"
