-- Rates: indexes and references that another one covers cost each event, and help nobody.

DROP INDEX webhook_deliveries_by_event;  -- UNIQUE (partner_id, event_id, endpoint_id) begins the same
ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_partner_id_fkey;  -- its event refers to the partner
