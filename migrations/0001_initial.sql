-- The tables of the original design, corrected: timestamptz, checked states, no plain secret anywhere,
-- and the run-time tables (outbox, replies) that make an accepted write durable.

CREATE TABLE users (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email         text NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
  password_hash text NOT NULL,
  role          text NOT NULL CHECK (role IN ('admin', 'viewer')),
  created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE partners (
  id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id            uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  name                  text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
  type                  text NOT NULL CHECK (type IN ('partner', 'vendor', 'provider')),
  status                text NOT NULL DEFAULT 'pending'
                        CHECK (status IN ('pending', 'active', 'suspended', 'inactive')),
  api_endpoint          text,
  auth_method           text NOT NULL CHECK (auth_method IN ('oauth2', 'api_key', 'bearer', 'basic')),
  credentials_encrypted text,
  rate_limit_per_minute integer NOT NULL DEFAULT 100 CHECK (rate_limit_per_minute > 0),
  metadata              jsonb NOT NULL DEFAULT '{}',
  created_at            timestamptz NOT NULL DEFAULT now(),
  updated_at            timestamptz NOT NULL DEFAULT now(),
  last_sync_at          timestamptz,
  deleted_at            timestamptz,
  created_by            text
);
CREATE INDEX partners_newest ON partners (created_at DESC, id DESC);
CREATE INDEX partners_by_status ON partners (status, created_at DESC, id DESC);
CREATE INDEX partners_by_type ON partners (type, created_at DESC, id DESC);

CREATE TABLE api_keys (
  id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key_id                text NOT NULL UNIQUE,
  key_hash              text NOT NULL,
  partner_id            uuid REFERENCES partners (partner_id) ON DELETE CASCADE,
  name                  text NOT NULL,
  scopes                text[] NOT NULL,
  rate_limit_per_minute integer CHECK (rate_limit_per_minute > 0),
  expires_at            timestamptz,
  last_used_at          timestamptz,
  revoked_at            timestamptz,
  created_at            timestamptz NOT NULL DEFAULT now(),
  created_by            text
);
CREATE INDEX api_keys_by_partner ON api_keys (partner_id, created_at DESC, id DESC);
CREATE INDEX api_keys_newest ON api_keys (created_at DESC, id DESC);

CREATE TABLE webhook_endpoints (
  id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  endpoint_id      text NOT NULL UNIQUE,
  svix_endpoint_id text UNIQUE,
  partner_id       uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  url              text NOT NULL,
  description      text NOT NULL DEFAULT '',
  enabled          boolean NOT NULL DEFAULT true,
  events           text[] NOT NULL CHECK (cardinality(events) > 0),
  state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'registered', 'refused')),
  secret_encrypted text,
  metadata         jsonb NOT NULL DEFAULT '{}',
  created_at       timestamptz NOT NULL DEFAULT now(),
  updated_at       timestamptz NOT NULL DEFAULT now(),
  deleted_at       timestamptz
);
CREATE INDEX webhook_endpoints_by_partner ON webhook_endpoints (partner_id, created_at DESC, id DESC)
  WHERE deleted_at IS NULL;

CREATE TABLE event_types (
  name        text PRIMARY KEY CHECK (name ~ '^[a-zA-Z0-9\-_.]{1,128}$'),
  description text NOT NULL DEFAULT '',
  schema      jsonb,
  example     jsonb,
  deprecated  boolean NOT NULL DEFAULT false,
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE events (
  id         bigint GENERATED ALWAYS AS IDENTITY,
  partner_id uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  event_id   text NOT NULL,
  event_type text NOT NULL,
  payload    json NOT NULL,  -- json, not jsonb: the publisher's own order of names is kept
  request_id text,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (partner_id, event_id)
);

CREATE TABLE webhook_deliveries (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id   uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  partner_id    uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  endpoint_id   text NOT NULL REFERENCES webhook_endpoints (endpoint_id) ON DELETE CASCADE,
  event_id      text NOT NULL,
  event_type    text NOT NULL,
  status        text NOT NULL DEFAULT 'pending'
                CHECK (status IN ('pending', 'retrying', 'delivered', 'failed', 'skipped')),
  response_code integer,
  attempt_count integer NOT NULL DEFAULT 0,
  max_attempts  integer NOT NULL,
  next_retry_at timestamptz,
  delivered_at  timestamptz,
  check_at      timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now(),
  UNIQUE (partner_id, event_id, endpoint_id),
  FOREIGN KEY (partner_id, event_id) REFERENCES events (partner_id, event_id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_by_partner ON webhook_deliveries (partner_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_by_status ON webhook_deliveries (partner_id, status, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (check_at) WHERE check_at IS NOT NULL;

CREATE TABLE webhook_attempts (
  attempt_id    text PRIMARY KEY,
  delivery_id   uuid NOT NULL REFERENCES webhook_deliveries (delivery_id) ON DELETE CASCADE,
  at            timestamptz NOT NULL,
  response_code integer,
  response_body text NOT NULL DEFAULT '',
  duration_ms   integer NOT NULL DEFAULT 0,
  error         text
);
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (delivery_id, at);

-- Calls to the webhook service that a committed change still owes. Never deleted before it is done.
CREATE TABLE outbox (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind        text NOT NULL CHECK (kind IN ('endpoint.open', 'event.send', 'partner.close', 'event_type.put')),
  partner_id  uuid REFERENCES partners (partner_id) ON DELETE CASCADE,
  subject     text NOT NULL,
  attempts    integer NOT NULL DEFAULT 0,
  not_before  timestamptz NOT NULL,
  last_error  text,
  created_at  timestamptz NOT NULL,
  done_at     timestamptz,
  buried_at   timestamptz
);
CREATE INDEX outbox_owed ON outbox (not_before, id) WHERE done_at IS NULL AND buried_at IS NULL;
CREATE INDEX outbox_setup ON outbox (partner_id, id)
  WHERE done_at IS NULL AND buried_at IS NULL AND kind <> 'event.send';

CREATE TABLE integration_logs (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  log_id     uuid NOT NULL UNIQUE,
  partner_id uuid,
  event_type text NOT NULL,
  severity   text NOT NULL DEFAULT 'info' CHECK (severity IN ('debug', 'info', 'warning', 'error', 'critical')),
  message    text NOT NULL,
  actor      text NOT NULL,
  target     text NOT NULL,
  request_id text,
  metadata   jsonb NOT NULL DEFAULT '{}',
  ip_address inet,
  user_agent text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX integration_logs_newest ON integration_logs (created_at DESC, id DESC);
CREATE INDEX integration_logs_by_partner ON integration_logs (partner_id, created_at DESC, id DESC);
CREATE INDEX integration_logs_by_request ON integration_logs (request_id);

CREATE TABLE sync_jobs (
  id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id            uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  partner_id        uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  job_type          text NOT NULL CHECK (job_type IN ('full_sync', 'incremental_sync', 'webhook_retry')),
  resource          text,
  status            text NOT NULL DEFAULT 'pending'
                    CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
  progress_percent  numeric(5, 2) NOT NULL DEFAULT 0 CHECK (progress_percent BETWEEN 0 AND 100),
  records_processed bigint NOT NULL DEFAULT 0,
  records_total     bigint,
  error_message     text,
  error_class       text CHECK (error_class IN ('config', 'auth', 'transient', 'system')),
  started_at        timestamptz,
  completed_at      timestamptz,
  created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX sync_jobs_one_active ON sync_jobs (partner_id, job_type, coalesce(resource, ''))
  WHERE status IN ('pending', 'running');

CREATE TABLE sessions (
  sid_hash bytea PRIMARY KEY,
  sess     jsonb NOT NULL,
  expire   timestamptz NOT NULL
);
CREATE INDEX sessions_expire ON sessions (expire);

CREATE TABLE rate_limits (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  identifier    text NOT NULL,
  endpoint      text NOT NULL,
  request_count integer NOT NULL DEFAULT 0,
  window_start  timestamptz NOT NULL,
  window_end    timestamptz NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  UNIQUE (identifier, endpoint, window_start)
);
CREATE INDEX rate_limits_window ON rate_limits (window_end);

-- Answers kept for Idempotency-Keys; the body is encrypted, as it can hold a key that is shown once.
CREATE TABLE idempotency_replies (
  tenant         text NOT NULL,
  route          text NOT NULL,
  key            text NOT NULL,
  fingerprint    bytea NOT NULL,
  status         integer NOT NULL,
  headers        jsonb NOT NULL,
  body_encrypted text NOT NULL,
  expires_at     timestamptz NOT NULL,
  PRIMARY KEY (tenant, route, key)
);
CREATE INDEX idempotency_replies_expire ON idempotency_replies (expires_at);
