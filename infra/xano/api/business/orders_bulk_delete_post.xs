query "orders/bulk_delete" verb=POST {
  api_group = "business"
  input {
    text[] external_ids
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
        foreach ($input.external_ids) {
          each as $external_id {
            var $sync_key {
              value = $partner ~ ":" ~ $external_id
            }
            db.has orders {
              field_name = "sync_key"
              field_value = $sync_key
            } as $there
            conditional {
              if ($there) {
                db.del orders {
                  field_name = "sync_key"
                  field_value = $sync_key
                }
              }
            }
          }
        }
      }
    }
  }
  response = {received: $input.external_ids|count}
  history = false
}
