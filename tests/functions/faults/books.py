"""What Svix is told to do wrong, what its books say, and the gateway's own, all behind the gateway's back."""

from typing import LiteralString

import psycopg

from tests import services
from tests.functions.stack import Connected, Json, Stack
from tests.services import web


def order_faults(svix: services.Service, *rules: Json) -> None:
    web.put(f"{svix.url}/_devstack/faults", json={"rules": rules}).raise_for_status()


def ledger(svix: services.Service, partner: Connected) -> Json:
    """Svix's account of the partner; empty if it has none."""
    apps = web.get(f"{svix.url}/_devstack/ledger").json()["apps"].values()
    return next((app for app in apps if app["uid"] == partner.id), {})


def asked(stack: Stack, query: LiteralString, *values: object) -> list[tuple]:
    """Rows of the gateway's own database."""
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
        found = connection.execute(query, values)
        return found.fetchall() if found.description else []


def leases_are_over(stack: Stack) -> None:
    """Dead hosts hold what they were sending and asking for half a minute; that half minute passes now."""
    asked(stack, "UPDATE outbox SET not_before = now() WHERE done_at IS NULL AND buried_at IS NULL")
    asked(stack, "UPDATE webhook_deliveries SET check_at = now() WHERE check_at IS NOT NULL")
