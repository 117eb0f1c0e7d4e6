// PinkSync in one subscription: one resource group per environment, everything in it, nothing open but the front door.
targetScope = 'subscription'

@description('Which one: it is a part of every name.')
@allowed([
  'dev'
  'test'
  'prod'
])
param environmentName string
param location string

@description('Three letters for the location; a part of every name.')
@minLength(3)
@maxLength(3)
param regionCode string
param owner string
param costCenter string

@description('private: only private endpoints. firewalled: the allowed addresses, too, reach vault, storage and database.')
@allowed([
  'private'
  'firewalled'
])
param networkMode string = 'private'

@description('Single IPv4 addresses of developers or runners. Never ranges.')
param allowedAddresses array = []
param addressPrefix string = '10.40.0.0/16'

@description('Ranges of networks joined to this one that reach the private endpoints, like that of the runner.')
param trustedPrefixes array = []
param fixedOutgoingAddress bool = false

@allowed([
  'none'
  'Standard_AzureFrontDoor'
  'Premium_AzureFrontDoor'
])
param frontDoorSku string = 'Premium_AzureFrontDoor'

@allowed([
  'Detection'
  'Prevention'
])
param firewallMode string = 'Prevention'

@description('Requests of one address in five minutes.')
@minValue(100)
param addressLimit int = 30000

@description('A name of our own, like api.example.com; empty: the name that Azure gives.')
param customHost string = ''

@allowed([
  'live'
  'test'
])
param keyMode string = 'live'
param xanoApiUrl string

@description('Empty: the Svix cloud.')
param svixUrl string = ''

@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GZRS'
])
param storageSku string = 'Standard_ZRS'

@allowed([
  '17'
  '18'
])
param postgresVersion string = '17'
param postgresSku string = 'Standard_D2ds_v5'

@allowed([
  'Burstable'
  'GeneralPurpose'
  'MemoryOptimized'
])
param postgresTier string = 'GeneralPurpose'
param postgresStorageGb int = 128

@allowed([
  'Disabled'
  'ZoneRedundant'
])
param postgresHighAvailability string = 'ZoneRedundant'

@allowed([
  'Disabled'
  'Enabled'
])
param postgresGeoBackup string = 'Enabled'
param postgresBackupDays int = 35

@description('The app connects through PgBouncer. Not yet: see docs/infrastructure.md.')
param postgresThroughPooler bool = false
param redisSku string = 'Balanced_B1'

@allowed([
  'Disabled'
  'Enabled'
])
param redisHighAvailability string = 'Enabled'

@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 2048
param maximumInstances int = 100
param alwaysReadyInstances int = 2
param requestsPerInstance int = 16
param zoneRedundant bool = true
param logRetentionDays int = 30
param logDailyCapGb int = 10
param tracesPerSecond string = '5'

@description('Who is told of alerts, by mail (name, address) and by text message (name, countryCode, number).')
param alertEmails array
param alertPhones array = []
param budgetAmount int

@description('The first day of a month, like 2026-12-01.')
param budgetStart string

@allowed([
  'portal'
  'managed'
])
param dashboardMode string = 'portal'

@description('owner/name of the repository whose workflow may change the database; empty: nobody from outside.')
param githubRepository string = ''

var part = 'pinksync-${environmentName}-${regionCode}'
var unique = take(uniqueString(subscription().id, environmentName, location), 6)
var isPrivate = networkMode == 'private'
var hasFrontDoor = frontDoorSku != 'none'
var appName = 'func-${part}-${unique}'
var appIdentityName = 'id-${part}-app'
var migratorName = 'id-${part}-migrator'
var defaultHost = hasFrontDoor ? frontDoor!.outputs.endpointHost : '${appName}.azurewebsites.net'
var publicUrl = 'https://${empty(customHost) ? defaultHost : customHost}'
var tags = {
  workload: 'pinksync'
  env: environmentName
  owner: owner
  costCenter: costCenter
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${part}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  scope: group
  name: 'identity'
  params: {
    location: location
    tags: tags
    appName: appIdentityName
    migratorName: migratorName
    githubRepository: githubRepository
    githubEnvironment: environmentName
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  name: 'monitoring'
  params: {
    location: location
    tags: tags
    workspaceName: 'log-${part}'
    appInsightsName: 'appi-${part}'
    retentionDays: logRetentionDays
    dailyCapGb: logDailyCapGb
  }
}

module network 'modules/network.bicep' = {
  scope: group
  name: 'network'
  params: {
    location: location
    tags: tags
    networkName: 'vnet-${part}'
    functionsGroupName: 'nsg-${part}-func'
    endpointsGroupName: 'nsg-${part}-pe'
    gatewayName: 'ng-${part}'
    addressName: 'pip-${part}'
    addressPrefix: addressPrefix
    trustedPrefixes: trustedPrefixes
    fixedOutgoingAddress: fixedOutgoingAddress
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  name: 'storage'
  params: {
    location: location
    tags: tags
    name: 'stpinksync${environmentName}${unique}'
    sku: storageSku
    private: isPrivate
    functionsSubnetId: network.outputs.functionsSubnetId
    allowedAddresses: allowedAddresses
  }
}

module vault 'modules/keyvault.bicep' = {
  scope: group
  name: 'keyvault'
  params: {
    location: location
    tags: tags
    name: 'kv-pinksync-${environmentName}-${unique}'
    private: isPrivate
    functionsSubnetId: network.outputs.functionsSubnetId
    allowedAddresses: allowedAddresses
  }
}

module postgres 'modules/postgres.bicep' = {
  scope: group
  name: 'postgres'
  params: {
    location: location
    tags: tags
    name: 'psql-${part}-${unique}'
    version: postgresVersion
    skuName: postgresSku
    tier: postgresTier
    storageGb: postgresStorageGb
    highAvailability: postgresHighAvailability
    geoRedundantBackup: postgresGeoBackup
    backupDays: postgresBackupDays
    administratorPrincipalId: identity.outputs.migratorPrincipalId
    administratorName: migratorName
    throughPooler: postgresThroughPooler
    private: isPrivate
    allowedAddresses: allowedAddresses
  }
}

module redis 'modules/redis.bicep' = {
  scope: group
  name: 'redis'
  params: {
    location: location
    tags: tags
    name: 'amr-${part}-${unique}'
    skuName: redisSku
    highAvailability: redisHighAvailability
    appPrincipalId: identity.outputs.appPrincipalId
  }
}

// The database and Redis are always reached from inside; storage and vault let the app's subnet in when firewalled.
module databaseAccess 'modules/private-access.bicep' = {
  scope: group
  name: 'database-access'
  params: {
    location: location
    tags: tags
    networkId: network.outputs.networkId
    subnetId: network.outputs.endpointsSubnetId
    endpoints: [
      {
        name: 'pep-${part}-psql'
        target: postgres.outputs.id
        group: 'postgresqlServer'
        zone: 'privatelink.postgres.database.azure.com'
      }
      {
        name: 'pep-${part}-amr'
        target: redis.outputs.id
        group: 'redisEnterprise'
        zone: 'privatelink.redis.azure.net'
      }
    ]
  }
}

module storageAccess 'modules/private-access.bicep' = if (isPrivate) {
  scope: group
  name: 'storage-access'
  params: {
    location: location
    tags: tags
    networkId: network.outputs.networkId
    subnetId: network.outputs.endpointsSubnetId
    endpoints: [
      {
        name: 'pep-${part}-kv'
        target: vault.outputs.id
        group: 'vault'
        zone: 'privatelink.vaultcore.azure.net'
      }
      {
        name: 'pep-${part}-blob'
        target: storage.outputs.id
        group: 'blob'
        zone: 'privatelink.blob.${environment().suffixes.storage}'
      }
      {
        name: 'pep-${part}-queue'
        target: storage.outputs.id
        group: 'queue'
        zone: 'privatelink.queue.${environment().suffixes.storage}'
      }
      {
        name: 'pep-${part}-table'
        target: storage.outputs.id
        group: 'table'
        zone: 'privatelink.table.${environment().suffixes.storage}'
      }
    ]
  }
}

module frontDoor 'modules/frontdoor-profile.bicep' = if (hasFrontDoor) {
  scope: group
  name: 'frontdoor-profile'
  params: {
    tags: tags
    profileName: 'afd-${part}'
    endpointName: 'pinksync-${environmentName}-${unique}'
    firewallName: 'wafpinksync${environmentName}${regionCode}'
    sku: hasFrontDoor ? frontDoorSku : 'Standard_AzureFrontDoor'
    firewallMode: firewallMode
    addressLimit: addressLimit
  }
}

module roles 'modules/rbac.bicep' = {
  scope: group
  name: 'rbac'
  params: {
    principalId: identity.outputs.appPrincipalId
    storageName: storage.outputs.name
    vaultName: vault.outputs.name
    appInsightsName: monitoring.outputs.appInsightsName
  }
}

module app 'modules/functionapp.bicep' = {
  scope: group
  name: 'functionapp'
  params: {
    location: location
    tags: tags
    planName: 'plan-${part}'
    name: appName
    identityId: identity.outputs.appId
    identityClientId: identity.outputs.appClientId
    identityPrincipalId: identity.outputs.appPrincipalId
    identityName: appIdentityName
    subnetId: network.outputs.functionsSubnetId
    frontDoorId: hasFrontDoor ? frontDoor!.outputs.frontDoorId : ''
    allowedAddresses: allowedAddresses
    instanceMemoryMB: instanceMemoryMB
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    requestsPerInstance: requestsPerInstance
    zoneRedundant: zoneRedundant
    publicUrl: publicUrl
    keyMode: keyMode
    storageBlobEndpoint: storage.outputs.blobEndpoint
    storageQueueEndpoint: storage.outputs.queueEndpoint
    storageTableEndpoint: storage.outputs.tableEndpoint
    packageUrl: storage.outputs.packageUrl
    keyVaultUri: vault.outputs.uri
    databaseHost: postgres.outputs.host
    databasePort: postgres.outputs.port
    databaseName: postgres.outputs.database
    redisHost: redis.outputs.host
    redisPort: redis.outputs.port
    xanoApiUrl: xanoApiUrl
    svixUrl: svixUrl
    appInsightsConnectionString: monitoring.outputs.connectionString
    tracesPerSecond: tracesPerSecond
  }
  dependsOn: [
    roles
    databaseAccess
    storageAccess
  ]
}

module routes 'modules/frontdoor-routes.bicep' = if (hasFrontDoor) {
  scope: group
  name: 'frontdoor-routes'
  params: {
    profileName: frontDoor!.outputs.profileName
    endpointName: frontDoor!.outputs.endpointName
    firewallId: frontDoor!.outputs.firewallId
    originHost: app.outputs.hostName
    customHost: customHost
  }
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  name: 'alerts'
  params: {
    location: location
    tags: tags
    groupName: 'ag-${part}'
    prefix: 'alert-${part}'
    workspaceId: monitoring.outputs.workspaceId
    postgresId: postgres.outputs.id
    emails: alertEmails
    phones: alertPhones
  }
}

module webtest 'modules/webtest.bicep' = if (hasFrontDoor) {
  scope: group
  name: 'webtest'
  params: {
    location: location
    tags: tags
    name: 'wt-${part}'
    appInsightsId: monitoring.outputs.appInsightsId
    actionGroupId: alerts.outputs.actionGroupId
    publicUrl: publicUrl
  }
}

module dashboards 'modules/dashboards.bicep' = {
  scope: group
  name: 'dashboards'
  params: {
    location: location
    tags: tags
    name: part
    mode: dashboardMode
  }
}

module diagnostics 'modules/diagnostics.bicep' = {
  scope: group
  name: 'diagnostics'
  params: {
    workspaceId: monitoring.outputs.workspaceId
    storageName: storage.outputs.name
    vaultName: vault.outputs.name
    postgresName: postgres.outputs.name
    redisName: redis.outputs.name
    appName: app.outputs.name
    frontDoorName: hasFrontDoor ? frontDoor!.outputs.profileName : ''
  }
}

module budget 'modules/budget.bicep' = {
  scope: group
  name: 'budget'
  params: {
    name: 'bud-${part}'
    amount: budgetAmount
    startDate: budgetStart
    actionGroupId: alerts.outputs.actionGroupId
  }
}

module locks 'modules/locks.bicep' = if (environmentName == 'prod') {
  scope: group
  name: 'locks'
  params: {
    storageName: storage.outputs.name
    vaultName: vault.outputs.name
    postgresName: postgres.outputs.name
  }
}

output RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = app.outputs.name
output PUBLIC_URL string = publicUrl
output KEY_VAULT_NAME string = vault.outputs.name
output POSTGRES_SERVER_NAME string = postgres.outputs.name
output POSTGRES_HOST string = postgres.outputs.host
output MIGRATOR_NAME string = migratorName
output MIGRATOR_CLIENT_ID string = identity.outputs.migratorClientId
output APP_IDENTITY_NAME string = appIdentityName
output APP_PRINCIPAL_ID string = identity.outputs.appPrincipalId
