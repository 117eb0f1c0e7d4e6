-- Payloads leave after a set time; their rows stay.

ALTER TABLE events ALTER COLUMN payload DROP NOT NULL;
CREATE INDEX events_with_payload ON events (created_at) WHERE payload IS NOT NULL;
CREATE INDEX webhook_attempts_with_answer ON webhook_attempts (at) WHERE response_body <> '';
