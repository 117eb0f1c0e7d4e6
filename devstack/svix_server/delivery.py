"""One message on its way to one endpoint: what is needed to send it, and the request itself."""

import sqlite3
from dataclasses import dataclass

from devstack.svix_server import clock, signing
from devstack.svix_server.attempt import Status, Trigger
from devstack.svix_server.endpoint import Endpoint
from devstack.svix_server.task_queue import Task

USER_AGENT = "Svix-Webhooks/1.100.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    task: Task
    org_id: str
    app_id: str
    app_uid: str | None
    event_id: str | None
    endpoint: Endpoint
    payload: bytes
    headers: dict[str, str]
    """The message's own, beside the endpoint's."""
    settled: bool

    @property
    def is_due(self) -> bool:
        """A scheduled attempt is dropped once the message got there, or ran out of retries, otherwise."""
        return not self.settled or self.task.trigger is Trigger.MANUAL


def load(db: sqlite3.Connection, task: Task) -> Delivery | None:
    """None if it must not be sent: endpoint disabled, something deleted, or the payload gone."""
    row = db.execute(_DELIVERY, (task.msg_id, task.endpoint_id)).fetchone()
    if row is None:
        return None
    return Delivery(
        task=task,
        org_id=row["org_id"],
        app_id=row["app_id"],
        app_uid=row["app_uid"],
        event_id=row["event_id"],
        endpoint=Endpoint.of(row),
        payload=row["payload"],
        headers=dict(db.execute("SELECT name, value FROM message_header WHERE msg_id = ?", (task.msg_id,)).fetchall()),
        settled=row["next_attempt"] is None and row["last_status"] != Status.SENDING,
    )


def headers(delivery: Delivery, at: int, *, whitelabel: bool) -> dict[str, str]:
    """Signed anew at each attempt; the id stays (facts/svix.md §2, Signing and Request)."""
    msg_id, timestamp = delivery.task.msg_id, signing.timestamp(at)
    keys = delivery.endpoint.signing_keys(clock.now())
    prefix = "webhook" if whitelabel else "svix"
    return {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        f"{prefix}-id": msg_id,
        f"{prefix}-timestamp": str(timestamp),
        f"{prefix}-signature": signing.signatures(keys, msg_id, timestamp, delivery.payload),
        **delivery.headers,
        **delivery.endpoint.headers,
    }


_DELIVERY = """
SELECT endpoint.*, application.org_id, application.uid AS app_uid, message.event_id, content.payload,
    destination.next_attempt, destination.last_status
FROM destination
JOIN message ON message.id = destination.msg_id
JOIN content ON content.msg_id = message.id
JOIN endpoint ON endpoint.id = destination.endpoint_id
JOIN application ON application.id = message.app_id
WHERE destination.msg_id = ? AND destination.endpoint_id = ?
    AND NOT endpoint.disabled AND NOT endpoint.deleted AND NOT application.deleted
"""
