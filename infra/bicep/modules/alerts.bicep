// Who is woken, and by what (docs/operations.md says what to do). The queries are tested: tests/infra/test_alerts.py.
param location string
param tags object
param groupName string
param prefix string
param workspaceId string
param postgresId string

@description('Each: name, address.')
param emails array

@description('Text messages. Each: name, countryCode, number.')
param phones array

var rules = [
  {
    name: 'api-error-rate'
    title: 'API error rate above 5 %'
    severity: 1
    window: 'PT5M'
    every: 'PT5M'
    query: loadTextContent('../kql/api-error-rate.kql')
    column: 'ErrorRatePct'
    operator: 'GreaterThan'
    threshold: 5
    dimensions: []
  }
  {
    name: 'webhook-success'
    title: 'Webhook success below 90 %'
    severity: 2
    window: 'PT15M'
    every: 'PT5M'
    query: loadTextContent('../kql/webhook-success.kql')
    column: 'SuccessRatePct'
    operator: 'LessThan'
    threshold: 90
    dimensions: []
  }
  {
    name: 'rate-limit'
    title: 'A partner was limited ten times within an hour'
    severity: 3
    window: 'PT1H'
    every: 'PT15M'
    query: loadTextContent('../kql/rate-limit.kql')
    column: 'Rejections'
    operator: 'GreaterThanOrEqual'
    threshold: 10
    dimensions: [
      {
        name: 'PartnerId'
        operator: 'Include'
        values: [
          '*'
        ]
      }
    ]
  }
  {
    name: 'postgres-app-errors'
    title: 'The app cannot connect to PostgreSQL'
    severity: 2
    window: 'PT5M'
    every: 'PT5M'
    query: loadTextContent('../kql/postgres-app-errors.kql')
    column: 'Failures'
    operator: 'GreaterThan'
    threshold: 0
    dimensions: []
  }
  {
    name: 'cache-miss'
    title: 'Cache miss rate above 50 %'
    severity: 3
    window: 'PT15M'
    every: 'PT15M'
    query: loadTextContent('../kql/cache-miss.kql')
    column: 'MissRatePct'
    operator: 'GreaterThan'
    threshold: 50
    dimensions: []
  }
]
var serverRules = [
  {
    name: 'postgres-refused'
    title: 'PostgreSQL refuses connections'
    severity: 2
    metric: 'connections_failed'
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 10
  }
  {
    name: 'postgres-down'
    title: 'PostgreSQL is down'
    severity: 1
    metric: 'is_db_alive'
    aggregation: 'Maximum'
    operator: 'LessThan'
    threshold: 1
  }
]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: groupName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'pinksync'
    enabled: true
    emailReceivers: [for email in emails: {
      name: email.name
      emailAddress: email.address
      useCommonAlertSchema: true
    }]
    smsReceivers: [for phone in phones: {
      name: phone.name
      countryCode: phone.countryCode
      phoneNumber: phone.number
    }]
  }
}

resource queryRules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: '${prefix}-${rule.name}'
  location: location
  tags: tags
  properties: {
    displayName: rule.title
    enabled: true
    severity: rule.severity
    scopes: [
      workspaceId
    ]
    windowSize: rule.window
    evaluationFrequency: rule.every
    autoMitigate: true
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: rule.query
          metricMeasureColumn: rule.column
          timeAggregation: 'Average'
          operator: rule.operator
          threshold: rule.threshold
          dimensions: rule.dimensions
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        group.id
      ]
    }
  }
}]

resource metricRules 'Microsoft.Insights/metricAlerts@2018-03-01' = [for rule in serverRules: {
  name: '${prefix}-${rule.name}'
  location: 'global'
  tags: tags
  properties: {
    description: rule.title
    enabled: true
    severity: rule.severity
    scopes: [
      postgresId
    ]
    windowSize: 'PT5M'
    evaluationFrequency: 'PT1M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: rule.name
          metricName: rule.metric
          metricNamespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
          timeAggregation: rule.aggregation
          operator: rule.operator
          threshold: rule.threshold
        }
      ]
    }
    actions: [
      {
        actionGroupId: group.id
      }
    ]
  }
}]

output actionGroupId string = group.id
