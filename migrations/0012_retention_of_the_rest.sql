-- no transaction
-- What was kept for ever leaves in time too: each kind begins at the oldest of an index.
DROP INDEX CONCURRENTLY IF EXISTS inbound_secrets_expire;
CREATE INDEX CONCURRENTLY inbound_secrets_expire ON inbound_secrets (expires_at) WHERE expires_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS inbound_records_touched;
CREATE INDEX CONCURRENTLY inbound_records_touched ON inbound_records (held_until);
DROP INDEX CONCURRENTLY IF EXISTS partners_removed;
CREATE INDEX CONCURRENTLY partners_removed ON partners (deleted_at) WHERE deleted_at IS NOT NULL;

-- Nobody is to sign for a partner that was removed.
UPDATE inbound_secrets SET expires_at = deleted_at FROM partners
  WHERE partners.partner_id = inbound_secrets.partner_id AND deleted_at IS NOT NULL AND expires_at IS NULL;

-- What was set aside and whose review was resolved is over.
UPDATE inbox SET done_at = resolved_at FROM reviews
  WHERE kind = 'inbound_unroutable' AND subject = inbox.id::text AND resolved_at IS NOT NULL
    AND buried_at IS NOT NULL AND done_at IS NULL;
UPDATE outbox SET done_at = resolved_at FROM reviews
  WHERE reviews.kind = 'outbox_refused' AND reviews.subject = outbox.id::text AND resolved_at IS NOT NULL
    AND buried_at IS NOT NULL AND done_at IS NULL;
