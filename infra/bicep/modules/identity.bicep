// The two identities of one environment: what the app runs as, and what changes the database's tables.
param location string
param tags object
param appName string
param migratorName string

@description('owner/name of the repository whose workflow migrates the database; empty: nobody from outside.')
param githubRepository string
param githubEnvironment string

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: appName
  location: location
  tags: tags
}

resource migrator 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: migratorName
  location: location
  tags: tags
}

resource workflow 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = if (!empty(githubRepository)) {
  parent: migrator
  name: 'github-${githubEnvironment}'
  properties: {
    issuer: 'https://token.actions.githubusercontent.com'
    subject: 'repo:${githubRepository}:environment:${githubEnvironment}'
    audiences: [
      'api://AzureADTokenExchange'
    ]
  }
}

output appId string = app.id
output appClientId string = app.properties.clientId
output appPrincipalId string = app.properties.principalId
output migratorClientId string = migrator.properties.clientId
output migratorPrincipalId string = migrator.properties.principalId
