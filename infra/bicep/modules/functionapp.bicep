// The app on Flex Consumption. Every setting it reads stands here, and nowhere else (tests/infra/test_app_settings.py).
param location string
param tags object
param planName string
param name string

@description('What the app runs as. Its name is its user in PostgreSQL, its principal id its user in Redis.')
param identityId string
param identityClientId string
param identityPrincipalId string
param identityName string

@description('What it calls out from.')
param subnetId string

@description('Empty: there is no front door, and only the addresses listed may call.')
param frontDoorId string
param allowedAddresses array

@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int

@minValue(40)
@maxValue(1000)
param maximumInstances int

@minValue(0)
param alwaysReadyInstances int

@minValue(1)
param requestsPerInstance int
param zoneRedundant bool
param publicUrl string

@allowed([
  'live'
  'test'
])
param keyMode string
param storageBlobEndpoint string
param storageQueueEndpoint string
param storageTableEndpoint string
param packageUrl string
param keyVaultUri string
param databaseHost string
param databasePort int
param databaseName string
param redisHost string
param redisPort int
param xanoApiUrl string

@description('Empty: the Svix cloud.')
param svixUrl string
param appInsightsConnectionString string

@description('How many traces a second each instance keeps at most. Metrics are never sampled.')
param tracesPerSecond string

var frontDoorOnly = [
  {
    name: 'front-door'
    priority: 100
    action: 'Allow'
    tag: 'ServiceTag'
    ipAddress: 'AzureFrontDoor.Backend'
    headers: {
      'x-azure-fdid': [
        frontDoorId
      ]
    }
  }
]
var callers = [for (address, i) in allowedAddresses: {
  name: 'caller-${i}'
  priority: 200 + i
  action: 'Allow'
  ipAddress: '${address}/32'
}]

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    publicNetworkAccess: 'Enabled'
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: 'Deny'
      ipSecurityRestrictions: empty(frontDoorId) ? callers : frontDoorOnly
      scmIpSecurityRestrictionsUseMain: false
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances == 0 ? [] : [
          {
            name: 'http'
            instanceCount: alwaysReadyInstances
          }
        ]
        triggers: {
          http: {
            perInstanceConcurrency: requestsPerInstance
          }
        }
      }
      siteUpdateStrategy: {
        type: 'RollingUpdate'
      }
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: {
    // The host and its storage
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    AzureWebJobsStorage__blobServiceUri: storageBlobEndpoint
    AzureWebJobsStorage__queueServiceUri: storageQueueEndpoint
    AzureWebJobsStorage__tableServiceUri: storageTableEndpoint

    // Telemetry: the app starts it by itself, so that it can redact
    APPLICATIONINSIGHTS_CONNECTION_STRING: appInsightsConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    PYTHON_ENABLE_OPENTELEMETRY: 'true'
    OTEL_SERVICE_NAME: 'pinksync'
    OTEL_TRACES_SAMPLER: 'microsoft.rate_limited'
    OTEL_TRACES_SAMPLER_ARG: tracesPerSecond

    // The app. No secret stands here: it reads them from the vault, again and again, so that they can change.
    KEY_VAULT_URI: keyVaultUri
    ENVIRONMENT: 'production'
    KEY_MODE: keyMode
    PUBLIC_URL: publicUrl
    FRONT_DOOR_ID: frontDoorId
    AZURE_CLIENT_ID: identityClientId
    DATABASE_AUTH: 'entra'
    DATABASE_URL: 'postgresql://${identityName}@${databaseHost}:${databasePort}/${databaseName}?sslmode=verify-full'
    DATABASE_POOL_SIZE: '4'
    PGSSLROOTCERT: '/home/site/wwwroot/.python_packages/lib/site-packages/certifi/cacert.pem'
    REDIS_AUTH: 'entra'
    REDIS_URL: 'rediss://${identityPrincipalId}@${redisHost}:${redisPort}/0'
    AUDIT_STORAGE_URL: storageTableEndpoint
    XANO_API_URL: xanoApiUrl
    SVIX_URL: svixUrl

    // When the timers run: second, minute, hour, day, month, weekday
    OUTBOX_SCHEDULE: '*/5 * * * * *'
    RECONCILE_SCHEDULE: '*/10 * * * * *'
    INBOX_SCHEDULE: '*/5 * * * * *'
    KEY_USE_SCHEDULE: '0 * * * * *'
    METRICS_SCHEDULE: '30 * * * * *'
    TOKEN_REFRESH_SCHEDULE: '30 */5 * * * *'
    REENCRYPT_SCHEDULE: '0 47 * * * *'
    SYNC_DISPATCH_SCHEDULE: '*/30 * * * * *'
    JOB_RUN_SCHEDULE: '*/10 * * * * *'
    RETENTION_SCHEDULE: '0 */10 * * * *'
    AUDIT_ARCHIVE_SCHEDULE: '0 5 * * * *'
  }
}

output id string = app.id
output name string = app.name
output hostName string = app.properties.defaultHostName
