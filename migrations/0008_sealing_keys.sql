-- no transaction
-- Which key seals what: found and counted by key id, so that an old key can be emptied and dropped.
DROP INDEX CONCURRENTLY IF EXISTS partners_by_sealing_key;
CREATE INDEX CONCURRENTLY partners_by_sealing_key ON partners (split_part(credentials_encrypted, '.', 2))
  WHERE credentials_encrypted IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS webhook_endpoints_by_sealing_key;
CREATE INDEX CONCURRENTLY webhook_endpoints_by_sealing_key ON webhook_endpoints (split_part(secret_encrypted, '.', 2))
  WHERE secret_encrypted IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS inbound_secrets_by_sealing_key;
CREATE INDEX CONCURRENTLY inbound_secrets_by_sealing_key ON inbound_secrets (split_part(secret_encrypted, '.', 2))
  WHERE secret_encrypted IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS idempotency_replies_by_sealing_key;
CREATE INDEX CONCURRENTLY idempotency_replies_by_sealing_key ON idempotency_replies (split_part(body_encrypted, '.', 2))
  WHERE body_encrypted IS NOT NULL;
