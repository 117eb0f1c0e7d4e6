"""The tables. Times are microseconds; sets, maps and keys are JSON.

`destination` is one message at one endpoint, with its status. `task` is an attempt still to be made;
its row goes in the transaction that records the attempt, so a killed server makes the attempt again.
"""

TABLES = """
CREATE TABLE IF NOT EXISTS application (
    id TEXT PRIMARY KEY, org_id TEXT NOT NULL, uid TEXT, name TEXT NOT NULL, throttle_rate INTEGER,
    metadata TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS application_uid ON application (org_id, uid) WHERE uid IS NOT NULL;
CREATE INDEX IF NOT EXISTS application_org ON application (org_id, id);

CREATE TABLE IF NOT EXISTS endpoint (
    id TEXT PRIMARY KEY, app_id TEXT NOT NULL, uid TEXT, url TEXT NOT NULL, description TEXT NOT NULL,
    throttle_rate INTEGER, disabled INTEGER NOT NULL, event_types TEXT, channels TEXT,
    metadata TEXT NOT NULL, headers TEXT NOT NULL, key TEXT NOT NULL, old_keys TEXT NOT NULL,
    first_failure_at INTEGER, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS endpoint_uid ON endpoint (app_id, uid) WHERE uid IS NOT NULL;
CREATE INDEX IF NOT EXISTS endpoint_app ON endpoint (app_id, id);

CREATE TABLE IF NOT EXISTS event_type (
    org_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, archived INTEGER NOT NULL,
    deprecated INTEGER NOT NULL, schemas TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    PRIMARY KEY (org_id, name)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS message (
    id TEXT PRIMARY KEY, app_id TEXT NOT NULL, event_id TEXT, event_type TEXT NOT NULL, channels TEXT,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS message_event_id ON message (app_id, event_id)
    WHERE event_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS message_app ON message (app_id, id);

CREATE TABLE IF NOT EXISTS content (
    msg_id TEXT PRIMARY KEY, payload BLOB NOT NULL, expires_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS content_expiry ON content (expires_at);

CREATE TABLE IF NOT EXISTS message_header (
    msg_id TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (msg_id, name)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS destination (
    endpoint_id TEXT NOT NULL, msg_id TEXT NOT NULL, next_attempt INTEGER,
    last_status INTEGER NOT NULL DEFAULT 3, succeeded INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (endpoint_id, msg_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS destination_msg ON destination (msg_id, endpoint_id);

CREATE TABLE IF NOT EXISTS attempt (
    id TEXT PRIMARY KEY, msg_id TEXT NOT NULL, endpoint_id TEXT NOT NULL, url TEXT NOT NULL,
    response TEXT NOT NULL, response_status_code INTEGER NOT NULL, response_duration_ms INTEGER NOT NULL,
    status INTEGER NOT NULL, trigger_type INTEGER NOT NULL, created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attempt_endpoint ON attempt (endpoint_id, id);
CREATE INDEX IF NOT EXISTS attempt_msg ON attempt (msg_id, id);

CREATE TABLE IF NOT EXISTS task (
    id INTEGER PRIMARY KEY AUTOINCREMENT, msg_id TEXT NOT NULL, endpoint_id TEXT NOT NULL,
    trigger_type INTEGER NOT NULL, attempt_count INTEGER NOT NULL, due INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS background_task (
    id TEXT PRIMARY KEY, org_id TEXT NOT NULL, status TEXT NOT NULL, task TEXT NOT NULL,
    data TEXT NOT NULL, updated_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS idempotent_reply (
    key BLOB PRIMARY KEY, status INTEGER NOT NULL, body BLOB NOT NULL, expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotent_reply_expiry ON idempotent_reply (expires_at);
"""
