-- Sync jobs that survive kills: a lease, a fencing token and a checkpoint on each; where syncs read and what they know.

CREATE SEQUENCE sync_fences;

ALTER TABLE sync_jobs
  ADD COLUMN records_failed  bigint NOT NULL DEFAULT 0,
  ADD COLUMN records_changed bigint NOT NULL DEFAULT 0,
  ADD COLUMN records_deleted bigint NOT NULL DEFAULT 0,
  ADD COLUMN not_before      timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN attempt         integer NOT NULL DEFAULT 0,
  ADD COLUMN fence           bigint NOT NULL DEFAULT 0,
  ADD COLUMN lease_until     timestamptz,
  ADD COLUMN heartbeat_at    timestamptz,
  ADD COLUMN checkpoint      jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN created_by      text NOT NULL DEFAULT 'system',
  ADD COLUMN request_id      text;
CREATE INDEX sync_jobs_newest ON sync_jobs (created_at DESC, id DESC);
CREATE INDEX sync_jobs_by_partner ON sync_jobs (partner_id, created_at DESC, id DESC);
CREATE INDEX sync_jobs_owed ON sync_jobs (not_before, id) WHERE status IN ('pending', 'running');
CREATE INDEX sync_jobs_active ON sync_jobs (partner_id, resource, id) WHERE status IN ('pending', 'running');

-- How each resource of a partner is read, and how far it has been read.
CREATE TABLE sync_sources (
  id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id       uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  resource         text NOT NULL,
  configuration    jsonb NOT NULL,
  schedule_seconds integer CHECK (schedule_seconds > 0),
  next_run_at      timestamptz,
  cursor           text,
  validators       jsonb NOT NULL DEFAULT '{}',
  last_full_at     timestamptz,
  streak           integer NOT NULL DEFAULT 0,
  failing_since    timestamptz,
  disabled_at      timestamptz,
  created_at       timestamptz NOT NULL,
  updated_at       timestamptz NOT NULL,
  UNIQUE (partner_id, resource)
);
CREATE INDEX sync_sources_due ON sync_sources (next_run_at)
  WHERE next_run_at IS NOT NULL AND disabled_at IS NULL;

-- Every record that a source has, with a hash of what landed: tells what is new, changed, the same or gone.
CREATE TABLE sync_records (
  partner_id uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  resource   text NOT NULL,
  key        text COLLATE "C" NOT NULL,
  hash       bytea NOT NULL,
  seen_in    uuid NOT NULL,
  PRIMARY KEY (partner_id, resource, key)
) WITH (fillfactor = 80);

CREATE TABLE sync_quarantine (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  quarantine_id uuid NOT NULL UNIQUE,
  job_id        uuid NOT NULL REFERENCES sync_jobs (job_id) ON DELETE CASCADE,
  key           text,
  reason        text NOT NULL,
  record        json,
  created_at    timestamptz NOT NULL
);
CREATE INDEX sync_quarantine_by_job ON sync_quarantine (job_id, created_at DESC, id DESC);

INSERT INTO event_types (name, description, example) VALUES
  ('sync.disabled', 'The syncs of a resource failed again and again, and are switched off.',
   '{"resource": "orders", "failures": 10, "failing_since": "2026-02-26T18:23:00Z", "error_class": "auth"}');
INSERT INTO outbox (kind, subject, not_before, created_at)
VALUES ('event_type.put', 'sync.disabled', now(), now());
