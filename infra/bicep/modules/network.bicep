// One network: a subnet the app calls out from, a subnet of private endpoints, and one address towards the internet.
param location string
param tags object
param networkName string
param functionsGroupName string
param endpointsGroupName string
param gatewayName string
param addressName string
param addressPrefix string

@description('Ranges of networks of ours, joined to this one, that reach the private endpoints: a runner, a jump host.')
param trustedPrefixes array

@description('Gives the app one fixed outgoing address, which partners can put on a list of theirs.')
param fixedOutgoingAddress bool

var functionsPrefix = cidrSubnet(addressPrefix, 24, 0)
var endpointsPrefix = cidrSubnet(addressPrefix, 24, 1)

resource functionsGroup 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: functionsGroupName
  location: location
  tags: tags
}

resource endpointsGroup 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: endpointsGroupName
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'allow-app'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefixes: concat([functionsPrefix], trustedPrefixes)
          sourcePortRange: '*'
          destinationAddressPrefix: endpointsPrefix
          destinationPortRanges: [
            '443'
            '5432'
            '6432'
            '10000'
          ]
        }
      }
      {
        name: 'deny-others'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource address 'Microsoft.Network/publicIPAddresses@2025-05-01' = if (fixedOutgoingAddress) {
  name: addressName
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2025-05-01' = if (fixedOutgoingAddress) {
  name: gatewayName
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      {
        id: address.id
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: networkName
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: 'snet-func'
        properties: {
          addressPrefix: functionsPrefix
          networkSecurityGroup: {
            id: functionsGroup.id
          }
          natGateway: fixedOutgoingAddress ? { id: gateway.id } : null
          serviceEndpoints: [
            {
              service: 'Microsoft.Storage'
            }
            {
              service: 'Microsoft.KeyVault'
            }
          ]
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'snet-pe'
        properties: {
          addressPrefix: endpointsPrefix
          networkSecurityGroup: {
            id: endpointsGroup.id
          }
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }
}

output networkId string = network.id
output functionsSubnetId string = '${network.id}/subnets/snet-func'
output endpointsSubnetId string = '${network.id}/subnets/snet-pe'
