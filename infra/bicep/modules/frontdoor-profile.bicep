// The front door: the one thing that is open to the internet. Its routes come later, when the app is there.
param tags object
param profileName string
param endpointName string
param firewallName string

@allowed([
  'Standard_AzureFrontDoor'
  'Premium_AzureFrontDoor'
])
param sku string

@allowed([
  'Detection'
  'Prevention'
])
param firewallMode string

@description('Requests of one address in five minutes; more are refused here, before they cost anything.')
param addressLimit int

// The managed rules are a part of Premium only.
var managedRules = sku == 'Premium_AzureFrontDoor' ? [
  {
    ruleSetType: 'Microsoft_DefaultRuleSet'
    ruleSetVersion: '2.1'
    ruleSetAction: 'Block'
  }
  {
    ruleSetType: 'Microsoft_BotManagerRuleSet'
    ruleSetVersion: '1.0'
    ruleSetAction: 'Block'
  }
] : []

resource profile 'Microsoft.Cdn/profiles@2025-06-01' = {
  name: profileName
  location: 'global'
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    originResponseTimeoutSeconds: 60
  }
}

resource endpoint 'Microsoft.Cdn/profiles/afdEndpoints@2025-06-01' = {
  parent: profile
  name: endpointName
  location: 'global'
  tags: tags
  properties: {
    enabledState: 'Enabled'
  }
}

resource firewall 'Microsoft.Network/FrontDoorWebApplicationFirewallPolicies@2025-03-01' = {
  name: firewallName
  location: 'global'
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    policySettings: {
      enabledState: 'Enabled'
      mode: firewallMode
      requestBodyCheck: 'Enabled'
    }
    customRules: {
      rules: [
        {
          name: 'LimitEachAddress'
          priority: 100
          enabledState: 'Enabled'
          ruleType: 'RateLimitRule'
          rateLimitDurationInMinutes: 5
          rateLimitThreshold: addressLimit
          action: 'Block'
          matchConditions: [
            {
              matchVariable: 'RequestUri'
              operator: 'Contains'
              matchValue: [
                '/'
              ]
            }
          ]
        }
      ]
    }
    managedRules: {
      managedRuleSets: managedRules
    }
  }
}

output profileName string = profile.name
output profileId string = profile.id
output frontDoorId string = profile.properties.frontDoorId
output endpointName string = endpoint.name
output endpointHost string = endpoint.properties.hostName
output firewallId string = firewall.id
