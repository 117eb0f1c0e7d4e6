// Run once per environment by an owner of the subscription: what the deployment workflow runs as.
// It signs in with a token of its own (OIDC); no secret of it exists anywhere.
targetScope = 'subscription'

@allowed([
  'dev'
  'test'
  'prod'
])
param environmentName string
param location string

@minLength(3)
@maxLength(3)
param regionCode string

@description('owner/name of the repository.')
param githubRepository string

var subscriptionId = subscription().id
var name = 'id-pinksync-${environmentName}-${regionCode}-deployer'
var builtIn = {
  contributor: 'b24988ac-6180-42a0-ab88-20f7382dd24c'
  accessAdministrator: 'f58310d9-a9f6-439a-9e8d-f62e7b41a168'
}

// The roles that modules/rbac.bicep gives, and no others (tests/infra/test_policy.py compares the two).
var givenRoles = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b, 974c5e8b-45b9-4653-ba55-5f855dd0fe88, 0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3, 4633458b-17de-408a-b874-0445c86b69e6, 3913510d-42f4-4e42-8a64-420c390055eb'
var mayGive = '((!(ActionMatches{\'Microsoft.Authorization/roleAssignments/write\'})) OR (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${givenRoles}} AND @Request[Microsoft.Authorization/roleAssignments:PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {\'ServicePrincipal\'}))'
var mayTake = '((!(ActionMatches{\'Microsoft.Authorization/roleAssignments/delete\'})) OR (@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${givenRoles}}))'

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-pinksync-${environmentName}-${regionCode}-deployer'
  location: location
}

module deployer 'modules/deployer.bicep' = {
  scope: group
  name: 'deployer'
  params: {
    location: location
    name: name
    githubRepository: githubRepository
    githubEnvironment: environmentName
  }
}

resource contributor 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscriptionId, name, builtIn.contributor)
  properties: {
    principalId: deployer.outputs.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', builtIn.contributor)
  }
}

resource accessAdministrator 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscriptionId, name, builtIn.accessAdministrator)
  properties: {
    principalId: deployer.outputs.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', builtIn.accessAdministrator)
    conditionVersion: '2.0'
    condition: '${mayGive} AND ${mayTake}'
  }
}

// Neither of the two may set locks, which modules/locks.bicep does.
resource lockKeeper 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscriptionId, 'pinksync-lock-keeper', environmentName)
  properties: {
    roleName: 'PinkSync lock keeper (${environmentName})'
    description: 'Sets and takes away locks.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Authorization/locks/*'
        ]
        notActions: []
      }
    ]
    assignableScopes: [
      subscriptionId
    ]
  }
}

resource locks 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscriptionId, name, 'pinksync-lock-keeper')
  properties: {
    principalId: deployer.outputs.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: lockKeeper.id
  }
}

output AZURE_CLIENT_ID string = deployer.outputs.clientId
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_SUBSCRIPTION_ID string = subscription().subscriptionId
