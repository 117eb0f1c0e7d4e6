-- Connections by OAuth: the settings of each partner's authorization server, the way to a grant, and its tokens.

CREATE TABLE oauth_providers (
  partner_id              uuid PRIMARY KEY REFERENCES partners (partner_id) ON DELETE CASCADE,
  grant_type              text NOT NULL CHECK (grant_type IN ('authorization_code', 'client_credentials')),
  authorize_url           text,
  token_url               text NOT NULL,
  revoke_url              text,
  issuer                  text,
  client_id               text NOT NULL,
  client_secret_encrypted text NOT NULL,
  client_auth             text NOT NULL CHECK (client_auth IN ('client_secret_basic', 'client_secret_post')),
  scopes                  text[] NOT NULL,
  created_at              timestamptz NOT NULL,
  updated_at              timestamptz NOT NULL,
  CHECK (grant_type = 'client_credentials' OR authorize_url IS NOT NULL)
);

-- Used ones stay until their time is over, so that the audit trail can say whose link was tried again.
CREATE TABLE oauth_links (
  link_hash  bytea PRIMARY KEY,
  partner_id uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at    timestamptz
);
CREATE INDEX oauth_links_expire ON oauth_links (expires_at);
CREATE INDEX oauth_links_by_partner ON oauth_links (partner_id);

CREATE TABLE oauth_states (
  state_hash         bytea PRIMARY KEY,
  browser_hash       bytea NOT NULL,
  partner_id         uuid NOT NULL REFERENCES partners (partner_id) ON DELETE CASCADE,
  verifier_encrypted text NOT NULL,
  created_at         timestamptz NOT NULL,
  expires_at         timestamptz NOT NULL,
  used_at            timestamptz
);
CREATE INDEX oauth_states_expire ON oauth_states (expires_at);
CREATE INDEX oauth_states_by_partner ON oauth_states (partner_id);

CREATE TABLE oauth_connections (
  partner_id              uuid PRIMARY KEY REFERENCES partners (partner_id) ON DELETE CASCADE,
  status                  text NOT NULL CHECK (status IN ('connected', 'needs_reauth', 'disconnected')),
  access_token_encrypted  text,
  refresh_token_encrypted text,
  scopes                  text[] NOT NULL,
  expires_at              timestamptz,
  refreshed_at            timestamptz,
  rejected_at             timestamptz,
  failures                integer NOT NULL,
  not_before              timestamptz,
  lease_until             timestamptz,
  ended_at                timestamptz,
  version                 integer NOT NULL
);
CREATE INDEX oauth_connections_idle ON oauth_connections (refreshed_at)
  WHERE status = 'connected' AND refresh_token_encrypted IS NOT NULL;
CREATE INDEX oauth_connections_to_revoke ON oauth_connections (refreshed_at)
  WHERE status = 'disconnected' AND (access_token_encrypted IS NOT NULL OR refresh_token_encrypted IS NOT NULL);

-- Which key seals what: found and counted by key id, so that an old key can be emptied and dropped.
CREATE INDEX oauth_providers_by_sealing_key ON oauth_providers (split_part(client_secret_encrypted, '.', 2));
CREATE INDEX oauth_states_by_sealing_key ON oauth_states (split_part(verifier_encrypted, '.', 2));
CREATE INDEX oauth_connections_by_access_sealing_key ON oauth_connections (split_part(access_token_encrypted, '.', 2))
  WHERE access_token_encrypted IS NOT NULL;
CREATE INDEX oauth_connections_by_refresh_sealing_key ON oauth_connections (split_part(refresh_token_encrypted, '.', 2))
  WHERE refresh_token_encrypted IS NOT NULL;

INSERT INTO event_types (name, description, example) VALUES
  ('partner.needs_reauth', 'The partner''s authorization server takes our grant no longer; connect again.',
   '{"partner_id": "550e8400-e29b-41d4-a716-446655440000", "reason": "invalid_grant"}');

INSERT INTO outbox (kind, subject, not_before, created_at)
VALUES ('event_type.put', 'partner.needs_reauth', now(), now());
