query "orders/bulk_upsert" verb=POST {
  api_group = "business"
  input {
    json items
    int fence
  }
  stack {
    precondition ($env.$request_auth_token == $env.PINKSYNC_BUSINESS_KEY) {
      error_type = "unauthorized"
      error = "Unauthorized"
    }
    var $partner {
      value = $env.$http_headers["X-Partner-Id"]
    }
    var $scope {
      value = $partner ~ ":orders"
    }
    db.transaction {
      stack {
        db.get sync_fences {
          field_name = "scope"
          field_value = $scope
          lock = true
        } as $known
        precondition ($known == null || $known.fence <= $input.fence) {
          error_type = "badrequest"
          error = "stale_fence"
        }
        db.add_or_edit sync_fences {
          field_name = "scope"
          field_value = $scope
          data = {scope: $scope, fence: $input.fence}
        } as $passed
        foreach ($input.items) {
          each as $item {
            var $sync_key {
              value = $partner ~ ":" ~ $item.external_id
            }
            db.add_or_edit orders {
              field_name = "sync_key"
              field_value = $sync_key
              data = {
                sync_key: $sync_key
                partner_id: $partner
                external_id: $item.external_id
                number: $item.number
                status: $item.status
                total: $item.total
                currency: $item.currency
                items: $item.items
              }
            } as $row
          }
        }
      }
    }
  }
  response = {received: $input.items|count}
  history = false
}
