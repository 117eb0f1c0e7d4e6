"""What PinkSync asks of a deployment beyond what Azure asks: the checklist of docs/infrastructure.md, rule by rule.

Each rule looks at a worked-out deployment (evaluate.py), so it judges what would be made, not what a line says.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from infra.check.evaluate import Deployment, Resource
from infra.check.functions import Unknown
from infra.check.tree import Fault

type Values = Mapping[str, Any]
type Rule = Callable[[Deployment, Values], Iterator[Fault]]

APP_ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "974c5e8b-45b9-4653-ba55-5f855dd0fe88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}
NEVER_SET = {
    "FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_TIME_ZONE", "TZ",
    "SCM_DO_BUILD_DURING_DEPLOYMENT", "ENABLE_ORYX_BUILD", "AzureWebJobsStorage", "ALLOW_LOOPBACK_EGRESS",
}  # fmt: skip
SECRET_WORD = re.compile(r"(KEY|TOKEN|SECRET|PEPPER|PASSWORD|KEYRING|CREDENTIALS)$")
REFERENCE = re.compile(r"@Microsoft\.KeyVault\(SecretUri=[^()]+secrets/[a-z0-9-]+\)")
EVERYBODY = {"*", "Internet", "Any", "0.0.0.0/0", "0.0.0.0", "::/0"}  # noqa: S104 - what is refused
USER_CONNECTIONS = {
    "Standard_B2s": 414,
    "Standard_D2ds_v5": 844,
    "Standard_D4ds_v5": 1703,
    "Standard_D8ds_v5": 3422,
    "Standard_D16ds_v5": 4985,
}
THROUGH_THE_POOLER = 10_000
TOLD_OF = [
    "Storage/storageAccounts/blobServices", "KeyVault/vaults", "DBforPostgreSQL/flexibleServers",
    "Cache/redisEnterprise", "Cache/redisEnterprise/databases", "Web/sites", "Cdn/profiles",
]  # fmt: skip


def policy_faults(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for rule in RULES:
        yield from rule(deployment, values)


def expect(resource: Resource, **wanted: Any) -> Iterator[Fault]:
    """Each property (dots are written as __) must have just this value."""
    for name, value in wanted.items():
        found: Any = resource.properties
        for part in name.split("__"):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found != value:
            yield resource.fault(f"{name.replace('__', '.')} is {found!r}, and must be {value!r}")


# ── The app ──────────────────────────────────────────────────────────────────────────────────────


def app_is_hardened(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for app in deployment.of_type("Web/sites"):
        yield from expect(
            app,
            httpsOnly=True,
            siteConfig__minTlsVersion="1.2",
            siteConfig__scmMinTlsVersion="1.2",
            siteConfig__ftpsState="Disabled",
            siteConfig__scmIpSecurityRestrictionsUseMain=False,
            functionAppConfig__runtime={"name": "python", "version": "3.13"},
            functionAppConfig__deployment__storage__authentication__type="UserAssignedIdentity",
        )
        if app.body.get("identity", {}).get("type") != "UserAssigned":
            yield app.fault("it must have a user-assigned identity, and no other")
        if "keyVaultReferenceIdentity" not in app.properties:
            yield app.fault("keyVaultReferenceIdentity is not set: references to the vault would not resolve")
        if not app.properties.get("virtualNetworkSubnetId"):
            yield app.fault("it calls out through no network of ours")
    for plan in deployment.of_type("Web/serverfarms"):
        if plan.body.get("sku", {}).get("name") != "FC1":
            yield plan.fault("the plan must be Flex Consumption (FC1)")


def only_the_front_door_may_call(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for app in deployment.of_type("Web/sites"):
        site = app.properties.get("siteConfig", {})
        yield from expect(app, siteConfig__ipSecurityRestrictionsDefaultAction="Deny")
        for rule in site.get("ipSecurityRestrictions", []):
            if rule.get("action") == "Allow" and not (front_door_rule(rule) or one_address(rule.get("ipAddress"))):
                yield app.fault(f"rule {rule.get('name')} lets in more than our front door or one address")
        if deployment.of_type("Cdn/profiles") and not any(map(front_door_rule, site.get("ipSecurityRestrictions", []))):
            yield app.fault("there is a front door, and it is not let in")


def front_door_rule(rule: Mapping[str, Any]) -> bool:
    """The tag alone admits the front doors of other tenants."""
    ids = rule.get("headers", {}).get("x-azure-fdid", [])
    tagged = rule.get("tag") == "ServiceTag" and rule.get("ipAddress") == "AzureFrontDoor.Backend"
    return tagged and bool(ids) and all(isinstance(each, Unknown) for each in ids)


def one_address(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"\d+\.\d+\.\d+\.\d+(/32)?", text) is not None


def settings_hold_no_secret(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for settings in deployment.of_type("Web/sites/config"):
        for name, value in ((name, str(value)) for name, value in settings.properties.items()):
            if name in NEVER_SET or name.startswith("WEBSITE_CONTENT"):
                yield settings.fault(f"{name} must not be set here")
            if SECRET_WORD.search(name) and not REFERENCE.fullmatch(value):
                yield settings.fault(
                    f"{name} must be left to the vault, or be a reference to the vault without a version"
                )
            if re.search(r"://[^/@]*:[^/@]*@", value) or "AccountKey=" in value or "SharedAccessKey" in value:
                yield settings.fault(f"{name} carries a password")
            if re.match(r"(http|redis|amqp)://", value) or (
                value.startswith("postgresql://") and "sslmode=verify-full" not in value
            ):
                yield settings.fault(f"{name} is an address without TLS")
        if "AzureWebJobsStorage__credential" not in settings.properties:
            yield settings.fault("the host's storage must be reached by identity")


# ── What holds data ──────────────────────────────────────────────────────────────────────────────


def storage_is_closed(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for account in deployment.of_type("Storage/storageAccounts"):
        yield from expect(
            account,
            allowSharedKeyAccess=False,
            allowBlobPublicAccess=False,
            supportsHttpsTrafficOnly=True,
            minimumTlsVersion="TLS1_2",
            networkAcls__defaultAction="Deny",
        )
        yield from closed_when_private(account, values, account.properties.get("publicNetworkAccess"))
        yield from single_addresses(account, account.properties.get("networkAcls", {}).get("ipRules", []))
    for container in deployment.of_type("Storage/storageAccounts/blobServices/containers"):
        yield from expect(container, publicAccess="None")


def vault_is_closed(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for vault in deployment.of_type("KeyVault/vaults"):
        yield from expect(
            vault,
            enableRbacAuthorization=True,
            enablePurgeProtection=True,
            enableSoftDelete=True,
            softDeleteRetentionInDays=90,
            networkAcls__defaultAction="Deny",
        )
        yield from closed_when_private(vault, values, vault.properties.get("publicNetworkAccess"))
        yield from single_addresses(vault, vault.properties.get("networkAcls", {}).get("ipRules", []))
    for secret in deployment.of_type("KeyVault/vaults/secrets"):
        yield secret.fault("secrets are put in by scripts, never by a template")


def database_is_closed(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for server in deployment.of_type("DBforPostgreSQL/flexibleServers"):
        yield from expect(
            server, authConfig__activeDirectoryAuth="Enabled", authConfig__passwordAuth="Disabled"
        )  # fmt: skip
        yield from closed_when_private(server, values, server.properties.get("network", {}).get("publicNetworkAccess"))
        if "administratorLoginPassword" in server.properties:
            yield server.fault("nobody signs in with a password")
        if values.get("environmentName") == "prod":
            yield from expect(server, highAvailability__mode="ZoneRedundant", backup__geoRedundantBackup="Enabled")
    for rule in deployment.of_type("DBforPostgreSQL/flexibleServers/firewallRules"):
        first, last = rule.properties.get("startIpAddress"), rule.properties.get("endIpAddress")
        if first != last or not one_address(first) or first in EVERYBODY:
            yield rule.fault(f"{first} to {last} is more than one address")
    settings = deployment.of_type("DBforPostgreSQL/flexibleServers/configurations")
    chosen = {each.body["name"]: each.properties.get("value") for each in settings}
    if deployment.of_type("DBforPostgreSQL/flexibleServers") and chosen.get("require_secure_transport") != "on":
        yield deployment.of_type("DBforPostgreSQL/flexibleServers")[0].fault("require_secure_transport must be on")


def connections_are_enough(deployment: Deployment, values: Values) -> Iterator[Fault]:
    """Every instance may fill its pool at once."""
    pools = [each.properties for each in deployment.of_type("Web/sites/config")]
    for app in deployment.of_type("Web/sites"):
        instances = app.properties["functionAppConfig"]["scaleAndConcurrency"]["maximumInstanceCount"]
        wanted = sum(instances * int(pool["DATABASE_POOL_SIZE"]) for pool in pools)
        pooled = any(":6432/" in pool["DATABASE_URL"] for pool in pools)
        for server in deployment.of_type("DBforPostgreSQL/flexibleServers"):
            most = THROUGH_THE_POOLER if pooled else USER_CONNECTIONS.get(server.body["sku"]["name"], 0)
            if wanted > most:
                yield server.fault(
                    f"{instances} instances may want {wanted} connections, and {most} is known to be had"
                )


def redis_is_closed(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for cluster in deployment.of_type("Cache/redisEnterprise"):
        yield from expect(cluster, minimumTlsVersion="1.2", publicNetworkAccess="Disabled")
    for database in deployment.of_type("Cache/redisEnterprise/databases"):
        yield from expect(database, accessKeysAuthentication="Disabled", clientProtocol="Encrypted")


def closed_when_private(resource: Resource, values: Values, access: object) -> Iterator[Fault]:
    private = values.get("networkMode", "private") == "private" or values.get("environmentName") == "prod"
    if private and access != "Disabled":
        yield resource.fault(f"publicNetworkAccess is {access!r}, and only private endpoints may reach it")


def single_addresses(resource: Resource, rules: list[Mapping[str, Any]]) -> Iterator[Fault]:
    for rule in rules:
        if not one_address(rule.get("value")) or rule.get("value") in EVERYBODY:
            yield resource.fault(f"{rule.get('value')!r} is not one address")


# ── The front door and the network ───────────────────────────────────────────────────────────────


def front_door_filters(deployment: Deployment, values: Values) -> Iterator[Fault]:
    profiles = deployment.of_type("Cdn/profiles")
    for firewall in deployment.of_type("Network/FrontDoorWebApplicationFirewallPolicies"):
        yield from expect(firewall, policySettings__enabledState="Enabled")
        if values.get("environmentName") == "prod":
            yield from expect(firewall, policySettings__mode="Prevention")
        rules = firewall.properties.get("customRules", {}).get("rules", [])
        if not any(rule.get("ruleType") == "RateLimitRule" and rule.get("action") == "Block" for rule in rules):
            yield firewall.fault("it limits nobody's rate")
        managed = firewall.properties.get("managedRules", {}).get("managedRuleSets", [])
        kinds = {(each.get("ruleSetType"), each.get("ruleSetVersion")) for each in managed}
        if firewall.body["sku"]["name"].startswith("Premium") and ("Microsoft_DefaultRuleSet", "2.1") not in kinds:
            yield firewall.fault("Premium has managed rules, and they are not used")
    if profiles and not deployment.of_type("Cdn/profiles/securityPolicies"):
        yield profiles[0].fault("no firewall stands before it")


def front_door_speaks_tls_only(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for route in deployment.of_type("Cdn/profiles/afdEndpoints/routes"):
        yield from expect(route, httpsRedirect="Enabled", forwardingProtocol="HttpsOnly")
        if "cacheConfiguration" in route.properties:
            yield route.fault("answers to a partner must not be kept in a cache")
    for origin in deployment.of_type("Cdn/profiles/originGroups/origins"):
        yield from expect(origin, enforceCertificateNameCheck=True)
    for domain in deployment.of_type("Cdn/profiles/customDomains"):
        yield from expect(domain, tlsSettings__minimumTlsVersion="TLS12")


def network_lets_nobody_in(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for group in deployment.of_type("Network/networkSecurityGroups"):
        for rule in group.properties.get("securityRules", []):
            way = rule["properties"]
            sources = {way.get("sourceAddressPrefix"), *way.get("sourceAddressPrefixes", [])}
            if way["direction"] == "Inbound" and way["access"] == "Allow" and sources & EVERYBODY:
                yield group.fault(f"rule {rule['name']} lets everybody in")
    gateways = deployment.of_type("Network/natGateways")
    used = [each["id"] for gateway in gateways for each in gateway.properties.get("publicIpAddresses", [])]
    for address in deployment.of_type("Network/publicIPAddresses"):
        if address.id not in used:
            yield address.fault("a public address that is not the way out")


def subnets_are_kept_apart(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for network in deployment.of_type("Network/virtualNetworks"):
        subnets = {each["name"]: each["properties"] for each in network.properties.get("subnets", [])}
        for name, subnet in subnets.items():
            if "networkSecurityGroup" not in subnet:
                yield network.fault(f"subnet {name} has no security group")
        delegated = [each["properties"]["serviceName"] for subnet in subnets.values()
                     for each in subnet.get("delegations", [])]  # fmt: skip
        if delegated != ["Microsoft.App/environments"]:
            yield network.fault("one subnet, and only one, is delegated to Microsoft.App/environments")


# ── Rights, watching, cost ───────────────────────────────────────────────────────────────────────


def rights_are_the_least(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for given in deployment.of_type("Authorization/roleAssignments"):
        role = str(given.properties.get("roleDefinitionId")).strip("«»").rpartition("/")[2]
        if given.template_scope != "subscription" and role not in APP_ROLES:
            yield given.fault(f"role {role} is not one that the app needs")
        if given.template_scope != "subscription" and "scope" not in given.body:
            yield given.fault("it holds for the whole resource group, not for one resource")
        if given.properties.get("principalType") != "ServicePrincipal":
            yield given.fault("it is not given to an identity of ours")
        if role == "f58310d9-a9f6-439a-9e8d-f62e7b41a168" and not only_app_roles(given.properties.get("condition")):
            yield given.fault("who gives roles may give those of the app, and no others")


def only_app_roles(condition: object) -> bool:
    lists = re.findall(r"GuidEquals \{([^}]*)\}", str(condition))
    return len(lists) == 2 and all({each.strip() for each in ids.split(",")} == APP_ROLES.keys() for ids in lists)


def everything_is_watched(deployment: Deployment, values: Values) -> Iterator[Fault]:
    told = {each.body["scope"].id for each in deployment.of_type("Insights/diagnosticSettings")}
    for kind in TOLD_OF:
        for resource in deployment.of_type(kind):
            if resource.id not in told:
                yield resource.fault("no diagnostic settings")
    for store in [*deployment.of_type("OperationalInsights/workspaces")]:
        yield from expect(store, features__disableLocalAuth=True)
    for store in deployment.of_type("Insights/components"):
        yield from expect(store, DisableLocalAuth=True)


def somebody_is_told(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for group in deployment.of_type("Insights/actionGroups"):
        receivers = [*group.properties.get("emailReceivers", []), *group.properties.get("smsReceivers", [])]
        if not receivers:
            yield group.fault("nobody is told of an alert")
        if values.get("environmentName") == "prod" and not group.properties.get("smsReceivers"):
            yield group.fault("in production somebody must be told by text message")
    for rule in deployment.of_type("Insights/scheduledQueryRules"):
        if not rule.properties.get("actions", {}).get("actionGroups") or not rule.properties.get("enabled"):
            yield rule.fault("an alert that nobody hears of")
    if deployment.of_type("Web/sites") and len(deployment.of_type("Insights/scheduledQueryRules")) < 5:
        yield deployment.of_type("Web/sites")[0].fault("the five alert rules are not all there")
    if deployment.of_type("Web/sites") and not deployment.of_type("Consumption/budgets"):
        yield deployment.of_type("Web/sites")[0].fault("there is no budget")


def production_is_locked(deployment: Deployment, values: Values) -> Iterator[Fault]:
    if values.get("environmentName") != "prod":
        return
    locked = {each.body["scope"].id for each in deployment.of_type("Authorization/locks")
              if each.properties.get("level") == "CanNotDelete"}  # fmt: skip
    for kind in ("Storage/storageAccounts", "KeyVault/vaults", "DBforPostgreSQL/flexibleServers"):
        for resource in deployment.of_type(kind):
            if resource.id not in locked:
                yield resource.fault("it can be deleted by mistake: no lock")


def names_fit(deployment: Deployment, values: Values) -> Iterator[Fault]:
    for kind in ("Storage/storageAccounts", "KeyVault/vaults"):
        for resource in deployment.of_type(kind):
            if len(resource.name) > 24:
                yield resource.fault(f"the name {resource.name} is longer than 24 characters")
    for resource in deployment.resources:
        if (
            resource.parent is None
            and not isinstance(resource.name, Unknown)
            and resource.name != resource.name.lower()
        ):
            yield resource.fault(f"the name {resource.name} is not lower case")


RULES: list[Rule] = [
    app_is_hardened,
    only_the_front_door_may_call,
    settings_hold_no_secret,
    storage_is_closed,
    vault_is_closed,
    database_is_closed,
    connections_are_enough,
    redis_is_closed,
    front_door_filters,
    front_door_speaks_tls_only,
    network_lets_nobody_in,
    subnets_are_kept_apart,
    rights_are_the_least,
    everything_is_watched,
    somebody_is_told,
    production_is_locked,
    names_fit,
]
