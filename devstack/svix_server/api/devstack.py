"""Routes that no Svix has, for tests and for the stack itself: faults, ledger, clock."""

import sqlite3
from typing import Annotated

from pydantic import Field, ValidationError

from devstack.svix_server import clock
from devstack.svix_server.api.bodies import Body, wrong_body
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.attempt import Status
from devstack.svix_server.faults import FaultsIn
from devstack.svix_server.reply import NO_CONTENT, Reply


class ClockIn(Body):
    advance_seconds: Annotated[float, Field(alias="advance_seconds", ge=0, le=10**9)]


def order_faults(call: Call) -> Reply:
    try:
        ordered = FaultsIn.model_validate_json(call.body)
    except ValidationError as error:
        raise wrong_body(error) from None
    call.server.faults.order(ordered)
    return ordered_faults(call)


def ordered_faults(call: Call) -> Reply:
    return Reply.json(call.server.faults.ordered())


def clear_faults(call: Call) -> Reply:
    call.server.faults.order(FaultsIn())
    return NO_CONTENT


def ledger(call: Call) -> Reply:
    """How many messages, distinct event ids, attempts by outcome, and attempts still to be made."""
    db = call.server.store.db
    apps = {
        row["id"]: {"uid": row["uid"], "org_id": row["org_id"]} | _counts(db, row["id"])
        for row in db.execute("SELECT id, uid, org_id FROM application").fetchall()
    }
    totals = {
        name: sum(app[name] for app in apps.values())
        for name in ("messages", "event_ids", "attempts_succeeded", "attempts_failed", "pending")
    }
    return Reply.json(totals | {"apps": apps})


def advance_clock(call: Call) -> Reply:
    """Everything that waits for a moment is that much nearer to it; signatures keep the real time."""
    by = clock.from_seconds(call.read(ClockIn).advance_seconds)
    for statement in _NEARER:
        call.server.store.db.execute(statement, {"by": by})
    dispatcher = call.server.dispatcher
    call.server.store.after_commit(lambda: dispatcher.advance(by))
    return Reply.json({"advanced_seconds": by / clock.SECOND})


def _counts(db: sqlite3.Connection, app_id: str) -> dict[str, int]:
    row = db.execute(_COUNTS, {"app": app_id, "success": Status.SUCCESS, "fail": Status.FAIL}).fetchone()
    return dict(row)


_COUNTS = """
WITH sent AS (SELECT id, event_id FROM message WHERE app_id = :app)
SELECT COUNT(*) AS messages, COUNT(DISTINCT event_id) AS event_ids,
    (SELECT COUNT(*) FROM attempt WHERE msg_id IN (SELECT id FROM sent) AND status = :success)
        AS attempts_succeeded,
    (SELECT COUNT(*) FROM attempt WHERE msg_id IN (SELECT id FROM sent) AND status = :fail)
        AS attempts_failed,
    (SELECT COUNT(*) FROM task WHERE msg_id IN (SELECT id FROM sent)) AS pending
FROM sent
"""
_NEARER = (
    "UPDATE task SET due = due - :by",
    "UPDATE destination SET next_attempt = next_attempt - :by WHERE next_attempt IS NOT NULL",
    "UPDATE endpoint SET first_failure_at = first_failure_at - :by WHERE first_failure_at IS NOT NULL",
    "UPDATE endpoint SET old_keys = (SELECT json_group_array(json_set(value, '$.expires_at',"
    " json_extract(value, '$.expires_at') - :by)) FROM json_each(old_keys)) WHERE old_keys != '[]'",
    "UPDATE idempotent_reply SET expires_at = expires_at - :by",
    "UPDATE content SET expires_at = expires_at - :by",
)

ROUTES = (
    Route("PUT", "/_devstack/faults", order_faults, faulty=False),
    Route("GET", "/_devstack/faults", ordered_faults, faulty=False),
    Route("DELETE", "/_devstack/faults", clear_faults, faulty=False),
    Route("GET", "/_devstack/ledger", ledger, faulty=False),
    Route("PUT", "/_devstack/clock", advance_clock, faulty=False),
)
