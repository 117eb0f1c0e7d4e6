-- What every new installation can publish, and the calls that make the webhook service know them too.

INSERT INTO event_types (name, description, example) VALUES
  ('order.created', 'An order was placed.', '{"order_id": "ord_1001", "total": 42.5, "currency": "USD"}'),
  ('inventory.updated', 'The stock of an item changed.', '{"sku": "PINK-1", "quantity": 12}');

INSERT INTO outbox (kind, subject, not_before, created_at)
SELECT 'event_type.put', name, now(), now() FROM event_types;
