// Where the Grafana dashboard is shown: in the Azure portal (free), or in a Managed Grafana. Its panels are imported by
// hand (docs/dashboards.md): the template's own resource for them is a preview still.
param location string
param tags object
param name string

@allowed([
  'portal'
  'managed'
])
param mode string

resource dashboard 'Microsoft.Dashboard/dashboards@2025-08-01' = if (mode == 'portal') {
  name: 'gd-${name}'
  location: location
  tags: union(tags, { GrafanaDashboardResourceType: 'microsoft.insights/components' })
  properties: {}
}

resource grafana 'Microsoft.Dashboard/grafana@2025-08-01' = if (mode == 'managed') {
  name: 'amg-${name}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    apiKey: 'Disabled'
    publicNetworkAccess: 'Enabled'
  }
}
