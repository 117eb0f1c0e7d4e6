// PostgreSQL. Entra identities only; the migrator is its administrator, the app gets a role from scripts.
param location string
param tags object
param name string

@allowed([
  '17'
  '18'
])
param version string
param skuName string

@allowed([
  'Burstable'
  'GeneralPurpose'
  'MemoryOptimized'
])
param tier string

@minValue(32)
param storageGb int

@allowed([
  'Disabled'
  'ZoneRedundant'
])
param highAvailability string

@allowed([
  'Disabled'
  'Enabled'
])
param geoRedundantBackup string

@minValue(7)
@maxValue(35)
param backupDays int
param administratorPrincipalId string
param administratorName string

@description('The app connects through PgBouncer. Not yet: see docs/infrastructure.md.')
param throughPooler bool

@description('Only private endpoints reach it. Otherwise the addresses listed do, too.')
param private bool

@description('Single IPv4 addresses of developers or runners; never a range.')
param allowedAddresses array

// PgBouncer is built in, but not into the Burstable tier.
var pooled = tier != 'Burstable'
var baseSettings = [
  {
    name: 'require_secure_transport'
    value: 'on'
  }
  {
    name: 'ssl_min_protocol_version'
    value: 'TLSv1.2'
  }
  {
    name: 'idle_in_transaction_session_timeout'
    value: '60000'
  }
]
var poolSettings = [
  {
    name: 'pgbouncer.enabled'
    value: 'true'
  }
]
var settings = pooled ? concat(baseSettings, poolSettings) : baseSettings

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: skuName
    tier: tier
  }
  properties: {
    version: version
    createMode: 'Default'
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: tenant().tenantId
    }
    storage: {
      storageSizeGB: storageGb
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: backupDays
      geoRedundantBackup: geoRedundantBackup
    }
    highAvailability: {
      mode: highAvailability
    }
    network: {
      publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    }
  }
}

resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01' = {
  parent: server
  name: 'pinksync'
  properties: {
    charset: 'UTF8'
    collation: 'en_US.utf8'
  }
}

// One change at a time: the server answers ServerIsBusy to the second.
resource administrator 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: administratorPrincipalId
  properties: {
    principalType: 'ServicePrincipal'
    principalName: administratorName
    tenantId: tenant().tenantId
  }
  dependsOn: [
    database
  ]
}

@batchSize(1)
resource configuration 'Microsoft.DBforPostgreSQL/flexibleServers/configurations@2025-08-01' = [for setting in settings: {
  parent: server
  name: setting.name
  properties: {
    value: setting.value
    source: 'user-override'
  }
  dependsOn: [
    administrator
  ]
}]

@batchSize(1)
resource firewall 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2025-08-01' = [for (address, i) in allowedAddresses: if (!private) {
  parent: server
  name: 'allowed-${i}'
  properties: {
    startIpAddress: address
    endIpAddress: address
  }
  dependsOn: [
    configuration
  ]
}]

output id string = server.id
output name string = server.name
output host string = server.properties.fullyQualifiedDomainName
output port int = pooled && throughPooler ? 6432 : 5432
output database string = database.name
