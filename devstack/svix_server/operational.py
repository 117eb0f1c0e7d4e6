"""Operational webhooks: Svix telling about endpoints and attempts (facts/svix.md §3).

They are ordinary messages of an application in the management organisation whose uid is the watched
organisation's id. Both ways of setting them up, svix-server's own and the cloud's routes, put their
endpoints there.
"""

import logging
from dataclasses import dataclass

import orjson

from devstack.svix_server import application, clock, event_type, ids
from devstack.svix_server.application import Application
from devstack.svix_server.attempt import Trigger
from devstack.svix_server.auth import MANAGEMENT_ORG
from devstack.svix_server.event_type import EventType
from devstack.svix_server.fanout import Fanout, NewMessage
from devstack.svix_server.faults import Faults, OperationalFault
from devstack.svix_server.store import Store

# As svix-server's migrations have it, `message.attempt.recovered` is missing: an endpoint there that
# filters on it is refused until someone creates the type.
SEEDED_TYPES = (
    "endpoint.created",
    "endpoint.deleted",
    "endpoint.disabled",
    "endpoint.updated",
    "message.attempt.exhausted",
    "message.attempt.failing",
)
KNOWN_TYPES = frozenset((*SEEDED_TYPES, "message.attempt.recovered"))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OperationalWebhooks:
    """Sent in the transaction of the change they tell of."""

    fanout: Fanout
    faults: Faults

    def send(self, org_id: str, kind: str, data: dict[str, object]) -> None:
        db = self.fanout.store.db
        listener = application.find(db, MANAGEMENT_ORG, org_id)
        if listener is None or self.faults.operational is OperationalFault.DROP:
            _log.debug("no operational webhook %s for %s", kind, org_id)
            return
        payload = orjson.dumps({"type": kind, "data": data})
        sent = self.fanout.accept(listener.id, NewMessage(event_type=kind, payload=payload))
        if self.faults.operational is OperationalFault.TWICE:
            self._send_again(sent.id)

    def _send_again(self, msg_id: str) -> None:
        """The same message, so the same svix-id, once more."""
        rows = self.fanout.store.db.execute(
            "SELECT endpoint_id FROM destination WHERE msg_id = ?", (msg_id,)
        ).fetchall()
        for row in rows:
            self.fanout.queue.put(msg_id, row["endpoint_id"], Trigger.MANUAL, 0, clock.now())


def seed(store: Store) -> None:
    """The event types that the management organisation has from the start."""
    now = clock.now()
    with store.transaction() as db:
        for name in SEEDED_TYPES:
            if event_type.find(db, MANAGEMENT_ORG, name) is None:
                seeded = EventType(org_id=MANAGEMENT_ORG, name=name, description=name, created_at=now, updated_at=now)
                event_type.save(db, seeded)


def listener_for(store: Store, org_id: str) -> Application:
    """The application whose endpoints hear about the organisation; made if there is none."""
    found = application.find(store.db, MANAGEMENT_ORG, org_id)
    if found is not None:
        return found
    now = clock.now()
    made = Application(
        id=ids.new_id(ids.APP, now),
        org_id=MANAGEMENT_ORG,
        uid=org_id,
        name=f"Operational webhooks of {org_id}",
        throttle_rate=None,
        metadata={},
        created_at=now,
        updated_at=now,
    )
    application.insert(store.db, made)
    return made
