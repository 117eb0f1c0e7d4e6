// Secrets and key rings. Their values are put in by scripts, never by a template (docs/infrastructure.md).
param location string
param tags object

@minLength(3)
@maxLength(24)
param name string

@description('Only private endpoints reach it. Otherwise the subnet below and the addresses listed do.')
param private bool
param functionsSubnetId string
param allowedAddresses array

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enablePurgeProtection: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Deny'
      virtualNetworkRules: private ? [] : [
        {
          id: functionsSubnetId
        }
      ]
      ipRules: [for address in allowedAddresses: {
        value: address
      }]
    }
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
