-- The timers' ledger, indexes that make each batch of retention cheap, and the heads of the audit archive's chains.

-- One row a timer, changed at each run; its fill factor lets that happen in place.
CREATE TABLE timers (
  name            text PRIMARY KEY,
  known_since     timestamptz NOT NULL,
  last_start      timestamptz,
  last_end        timestamptz,
  last_result     text CHECK (last_result IN ('ok', 'failed')),
  last_rows       bigint NOT NULL DEFAULT 0,
  last_error      text,
  last_skipped_at timestamptz
) WITH (fillfactor = 50);

-- Runs that did something, failed, or were asked for by hand; the newest of each timer.
CREATE TABLE timer_runs (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL,
  result     text NOT NULL CHECK (result IN ('ok', 'failed', 'skipped')),
  rows       bigint NOT NULL DEFAULT 0,
  error      text,
  by_hand    boolean NOT NULL DEFAULT false,
  started_at timestamptz NOT NULL,
  ended_at   timestamptz NOT NULL
);
CREATE INDEX timer_runs_newest ON timer_runs (name, id DESC);
CREATE INDEX timer_runs_started ON timer_runs (started_at);

CREATE INDEX outbox_done ON outbox (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX inbox_done ON inbox (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX reviews_resolved ON reviews (resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX sync_jobs_completed ON sync_jobs (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX events_cleared ON events (created_at) WHERE payload IS NULL;

-- The last link of each chain of archived audit rows: without it, a chain whose end was cut off would look whole.
CREATE TABLE audit_heads (
  partition  text PRIMARY KEY,
  partner_id uuid,
  sequence   bigint NOT NULL CHECK (sequence > 0),
  row        text NOT NULL,
  hash       text NOT NULL,
  oldest     timestamptz NOT NULL,
  newest     timestamptz NOT NULL
);
CREATE INDEX audit_heads_by_partner ON audit_heads (partner_id);
