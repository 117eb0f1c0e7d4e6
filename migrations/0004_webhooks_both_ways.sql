-- Endpoints that change, deliveries that are sent again, events that partners send us, and what people must look at.

ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check CHECK (kind IN (
  'endpoint.open', 'endpoint.put', 'endpoint.close', 'event.send', 'delivery.resend', 'partner.close', 'event_type.put'));
DROP INDEX outbox_setup;
CREATE INDEX outbox_setup ON outbox (partner_id, id)
  WHERE done_at IS NULL AND buried_at IS NULL AND kind NOT IN ('event.send', 'delivery.resend');

CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (partner_id, event_id);

-- What a person must look at, once each.
CREATE TABLE reviews (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  review_id   uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  kind        text NOT NULL CHECK (kind IN ('delivery_exhausted', 'inbound_unroutable', 'outbox_refused')),
  subject     text NOT NULL,
  partner_id  uuid REFERENCES partners (partner_id) ON DELETE CASCADE,
  reason      text NOT NULL,
  note        text,
  resolved_by text,
  resolved_at timestamptz,
  created_at  timestamptz NOT NULL DEFAULT now(),
  UNIQUE (kind, subject)
);
CREATE INDEX reviews_newest ON reviews (created_at DESC, id DESC);

-- What partners sign their events with; two live while one is being rotated.
CREATE TABLE inbound_secrets (
  id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id       uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  secret_encrypted text NOT NULL,
  expires_at       timestamptz,
  created_at       timestamptz NOT NULL
);
CREATE INDEX inbound_secrets_by_partner ON inbound_secrets (partner_id, id DESC);

-- Events that partners sent us, each once by its svix-id; worked from here.
CREATE TABLE inbox (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id  uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  message_id  text NOT NULL,
  body        bytea NOT NULL,
  request_id  text,
  attempts    integer NOT NULL DEFAULT 0,
  not_before  timestamptz NOT NULL,
  last_error  text,
  done_at     timestamptz,
  buried_at   timestamptz,
  received_at timestamptz NOT NULL,
  UNIQUE (partner_id, message_id)
);
CREATE INDEX inbox_owed ON inbox (not_before, id) WHERE done_at IS NULL AND buried_at IS NULL;
