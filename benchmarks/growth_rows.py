"""Fills a database for growth.py: so many partners with a key each, and so many deliveries of one of them."""

from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString
from uuid import UUID

import psycopg

BUSY = UUID(bytes=bytes(15) + b"\x01")
"""The one partner that all deliveries belong to: the worst case for its own list."""
OWED = 4000
"""Items of the outbox that are still to be done, whatever its size."""

type Statements = tuple[LiteralString, ...]

PARTNERS: Statements = (
    """INSERT INTO partners (partner_id, name, type, status, auth_method, rate_limit_per_minute, created_at, updated_at)
       SELECT lpad(to_hex(n), 32, '0')::uuid, 'Shop ' || n, (ARRAY['partner', 'vendor', 'provider'])[1 + n %% 3],
              'active', 'api_key', 1000000, now() - n * interval '1 second', now()
       FROM generate_series(1, %(rows)s) AS n""",
    """INSERT INTO api_keys (key_id, key_hash, partner_id, name, scopes, created_at)
       SELECT 'pk_live_' || lpad(n::text, 12, '0'), repeat('x', 60), lpad(to_hex(n), 32, '0')::uuid, 'First key',
              ARRAY['read:*', 'write:*'], now() - n * interval '1 second'
       FROM generate_series(1, %(rows)s) AS n""",
)
DELIVERIES: Statements = (
    """INSERT INTO webhook_endpoints (endpoint_id, partner_id, url, events, state)
       VALUES ('ep_1', %(busy)s, 'https://shop.example/webhooks', ARRAY['order.created'], 'registered')""",
    """INSERT INTO events (partner_id, event_id, event_type, payload, created_at)
       SELECT %(busy)s, 'evt_' || n, 'order.created', '{"order_id": "ord_1"}', now() - n * interval '1 second'
       FROM generate_series(1, %(rows)s) AS n""",
    """INSERT INTO webhook_deliveries
         (partner_id, endpoint_id, event_id, event_type, status, attempt_count, max_attempts, delivered_at, created_at)
       SELECT %(busy)s, 'ep_1', 'evt_' || n, 'order.created',
              CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'delivered' END, 1, 8, now(), now() - n * interval '1 second'
       FROM generate_series(1, %(rows)s) AS n""",
    """INSERT INTO outbox (kind, partner_id, subject, not_before, created_at, done_at)
       SELECT 'event.send', %(busy)s, 'evt_' || n, now(), now() - interval '1 day',
              CASE WHEN n > %(owed)s THEN now() END
       FROM generate_series(1, %(rows)s) AS n""",
)


def fill(database_url: str, rows: int) -> None:
    """Both halves at once, one per core."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda statements: run(database_url, statements, rows), (PARTNERS, DELIVERIES)))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def run(database_url: str, statements: Statements, rows: int) -> None:
    """Without the checks of foreign keys and without waiting for the disk: what is written is known to fit."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        for statement in statements:
            connection.execute(statement, {"rows": rows, "busy": BUSY, "owed": OWED})
