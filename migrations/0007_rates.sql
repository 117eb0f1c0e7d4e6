-- Indexes and references that another one covers cost each event, and help nobody.

DROP INDEX webhook_deliveries_by_event;  -- UNIQUE (partner_id, event_id, endpoint_id) begins the same
ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_partner_id_fkey;  -- its event refers to the partner

-- How new each business record is that partners tell us of: what happened earlier never overwrites what is there.
CREATE TABLE inbound_records (
  partner_id  uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  resource    text NOT NULL,
  external_id text NOT NULL,
  happened_at timestamptz NOT NULL,
  held_until  timestamptz NOT NULL,
  PRIMARY KEY (partner_id, resource, external_id)
);
