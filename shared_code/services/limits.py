"""A partner that runs into its limit again and again is told once an hour, not each time."""

import logging
from dataclasses import dataclass

from shared_code import errors, telemetry
from shared_code.model import Caller, Severity
from shared_code.ports import Clock, Store
from shared_code.services.audit import Fact, note, system_caller
from shared_code.services.events import EventService, NewEvent

REFUSALS_TO_TELL = 10
EVENT_TYPE = "partner.rate_limited"

logger = logging.getLogger("pinksync.limits")


@dataclass(frozen=True, slots=True)
class LimitAlerts:
    store: Store
    events: EventService
    now: Clock

    async def refused(self, caller: Caller, refusals: int) -> None:
        """Called at every refusal; acts on the tenth within an hour. Never fails the request it is told of."""
        telemetry.LIMIT_REFUSALS.add(str(caller.partner_id or ""))
        if refusals != REFUSALS_TO_TELL or caller.partner_id is None:
            return
        try:
            await self._tell(caller)
        except errors.PinkSyncError as error:
            logger.error("partner %s is rate limited, and could not be told: %s", caller.partner_id, error.code)

    async def _tell(self, caller: Caller) -> None:
        partner_id, limit = caller.partner_id, caller.grant.limit_per_minute
        async with self.store.transaction() as transaction:
            fact = Fact(
                event_type=EVENT_TYPE,
                message=f"{REFUSALS_TO_TELL} requests were refused within an hour for a limit of {limit} a minute.",
                target=str(partner_id),
                partner_id=partner_id,
                severity=Severity.WARNING,
            )
            await note(transaction, caller, fact, self.now())
            payload = {"partner_id": str(partner_id), "refusals": REFUSALS_TO_TELL, "limit_per_minute": limit}
            event = NewEvent(event_type=EVENT_TYPE, payload=payload, partner_id=partner_id)
            await self.events.publish(system_caller("limits"), event)
