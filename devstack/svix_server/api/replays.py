"""Sending again: resend, recover, replay-missing, examples, and the tasks they become (facts/svix.md §1)."""

import orjson

from devstack.svix_server import clock, event_type, ids
from devstack.svix_server.api.bodies import Body, EventTypeName, Moment
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.application import Application
from devstack.svix_server.endpoint import Endpoint
from devstack.svix_server.errors import Flaw, bad_request, not_found, unprocessable
from devstack.svix_server.fanout import NewMessage
from devstack.svix_server.reply import Reply

RECOVERS_AT_MOST = 10_000

_WINDOW = 14 * clock.DAY + 300 * clock.SECOND
_PING = "svix.ping"
_PING_PAYLOAD = b'{"success": true}'


class SpanIn(Body):
    since: Moment
    until: Moment | None = None

    def bounds(self) -> tuple[int, int]:
        until = clock.now() if self.until is None else clock.micros(self.until)
        since = clock.micros(self.since)
        if until - since > _WINDOW:
            detail = "Cannot recover messages more than 14 days old."
            raise unprocessable(Flaw(("body", "since"), detail))
        return since, until


class EventExampleIn(Body):
    event_type: EventTypeName
    example_index: int = 0


def resend(call: Call) -> Reply:
    """Answers 202 for a disabled endpoint too, and delivers nothing then."""
    app = call.application()
    known, message = call.endpoint(app), call.message(app)
    if message.payload is None:
        detail = "Unable to resend message. Payload is missing (probably expired)."
        raise bad_request("missing_payload", detail)
    if not _is_destination(call, message.id, known.id):
        raise not_found()
    call.server.queue.put_manual(known.id, [message.id])
    return Reply.json({}, 202)


def recover(call: Call) -> Reply:
    """Every message that failed for good there, once more."""
    app = call.application()
    known = call.endpoint(app)
    since, until = call.read(SpanIn).bounds()
    rows = call.server.store.db.execute(_FAILED, (*_span(known.id, since, until), RECOVERS_AT_MOST))
    count = call.server.queue.put_manual(known.id, [row["msg_id"] for row in rows.fetchall()])
    return _task_out(call, app, "endpoint.recover", known, count)


def replay_missing(call: Call) -> Reply:
    """Every message that the endpoint listens to and that was never attempted there."""
    app = call.application()
    known = call.endpoint(app)
    since, until = call.read(SpanIn).bounds()
    span = _span(app.id, since, until)
    rows = call.server.store.db.execute(_NEVER_ATTEMPTED, (*span, known.id, known.id)).fetchall()
    missing = [row["id"] for row in rows if known.listens_to(row["event_type"], _channels(row["channels"]))]
    count = call.server.fanout.send_missing(known.id, missing[:RECOVERS_AT_MOST])
    return _task_out(call, app, "endpoint.replay", known, count)


def get_task(call: Call) -> Reply:
    row = call.server.store.db.execute(
        "SELECT * FROM background_task WHERE id = ? AND org_id = ?",
        (call.path["task_id"], call.organization()),
    ).fetchone()
    if row is None:
        raise not_found()
    answer = {name: row[name] for name in ("id", "status", "task")}
    answer |= {"updatedAt": clock.rfc3339(row["updated_at"]), "data": orjson.loads(row["data"])}
    return Reply.json(answer)


def send_example(call: Call) -> Reply:
    """To this endpoint whatever it listens to, as the cloud does; svix-server keeps to its filters."""
    app = call.own_application()
    known, given = call.endpoint(app), call.read(EventExampleIn)
    example = NewMessage(event_type=given.event_type, payload=_example(call, app, given))
    sent = call.server.fanout.accept_for(app.id, example, known.id)
    return Reply.json(sent.out(with_content=True), 202)


def _example(call: Call, app: Application, given: EventExampleIn) -> bytes:
    if given.event_type == _PING:
        return _PING_PAYLOAD
    known = event_type.find(call.server.store.db, app.org_id, given.event_type)
    if known is None:
        raise not_found()
    example = known.example(given.example_index)
    if example is None:
        raise bad_request("invalid_scheme", "Unable to generate example message from event-type schema")
    return orjson.dumps(example)


def _task_out(call: Call, app: Application, task: str, known: Endpoint, count: int) -> Reply:
    """`running`, as Svix answers; it is finished as soon as this transaction is."""
    now = clock.now()
    task_id = ids.new_id(ids.TASK, now)
    data = orjson.dumps({"appId": app.id, "endpointId": known.id, "count": count}).decode()
    call.server.store.db.execute(
        "INSERT INTO background_task VALUES (?, ?, 'finished', ?, ?, ?)", (task_id, app.org_id, task, data, now)
    )
    answer = {"id": task_id, "status": "running", "task": task, "updatedAt": clock.rfc3339(now)}
    return Reply.json(answer, 202)


def _is_destination(call: Call, msg_id: str, endpoint_id: str) -> bool:
    found = call.server.store.db.execute(
        "SELECT 1 FROM destination WHERE endpoint_id = ? AND msg_id = ?", (endpoint_id, msg_id)
    )
    return found.fetchone() is not None


def _span(owner_id: str, since: int, until: int) -> tuple[str, str, str, int, int]:
    """Ids, which the index knows but which are 4 ms wide, and the exact times."""
    return owner_id, ids.start_id(ids.MESSAGE, since), ids.end_id(ids.MESSAGE, until), since, until


def _channels(text: str | None) -> list[str] | None:
    return None if text is None else orjson.loads(text)


_FAILED = """
SELECT msg_id FROM destination JOIN message ON message.id = msg_id
WHERE endpoint_id = ? AND msg_id BETWEEN ? AND ? AND created_at BETWEEN ? AND ?
    AND failed AND NOT succeeded
ORDER BY msg_id LIMIT ?
"""
_NEVER_ATTEMPTED = """
SELECT id, event_type, channels FROM message
WHERE app_id = ? AND id BETWEEN ? AND ? AND created_at BETWEEN ? AND ?
    AND EXISTS (SELECT 1 FROM content WHERE msg_id = message.id)
    AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.msg_id = message.id AND attempt.endpoint_id = ?)
    AND NOT EXISTS (SELECT 1 FROM task WHERE task.msg_id = message.id AND task.endpoint_id = ?)
ORDER BY id
"""
_ENDPOINT = "/api/v1/app/{app_id}/endpoint/{endpoint_id}"

ROUTES = (
    Route("POST", "/api/v1/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/resend", resend),
    Route("POST", f"{_ENDPOINT}/recover", recover),
    Route("POST", f"{_ENDPOINT}/replay-missing", replay_missing),
    Route("POST", f"{_ENDPOINT}/send-example", send_example),
    Route("GET", "/api/v1/background-task/{task_id}", get_task),
)
