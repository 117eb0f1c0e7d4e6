-- What a partner is told when it runs into its limit again and again.

INSERT INTO event_types (name, description, example) VALUES
  ('partner.rate_limited', 'Ten requests were refused within an hour, for the rate limit.',
   '{"partner_id": "550e8400-e29b-41d4-a716-446655440000", "refusals": 10, "limit_per_minute": 100}');

INSERT INTO outbox (kind, subject, not_before, created_at)
VALUES ('event_type.put', 'partner.rate_limited', now(), now());
