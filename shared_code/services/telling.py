"""What operators are told of as it is committed: connections made and ended, deliveries and jobs that ended."""

from collections.abc import Sequence

from shared_code import telemetry
from shared_code.model import Delivery, DeliveryStatus
from shared_code.ports import Transaction

CONNECTIONS = frozenset(
    {
        "partner.connected",
        "partner.activated",
        "partner.suspended",
        "partner.deactivated",
        "partner.removed",
        "connection.connected",
        "connection.disconnected",
        "partner.needs_reauth",
    }
)
JOBS = {"sync.completed": "completed", "sync.failed": "failed", "sync.cancelled": "cancelled"}
ENDED = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.FAILED})


def tell_of_fact(transaction: Transaction, event_type: str, target: str) -> None:
    """A fact of the audit trail, if it is one that operators watch."""

    async def tell() -> None:
        if event_type in JOBS:
            telemetry.JOBS.add(JOBS[event_type])
        else:
            telemetry.custom_event("PartnerConnection", partnerId=target, status=event_type)

    if event_type in JOBS or event_type in CONNECTIONS:
        transaction.after_commit(tell)


def tell_of_deliveries(transaction: Transaction, changed: Sequence[Delivery]) -> None:
    """Deliveries whose state has changed: those that came to an end."""
    ended = [delivery for delivery in changed if delivery.status in ENDED]

    async def tell() -> None:
        for delivery in ended:
            telemetry.DELIVERIES.add(delivery.status.value)
            telemetry.custom_event(
                "WebhookDelivery",
                partnerId=str(delivery.partner_id),
                eventType=delivery.event_type,
                outcome=delivery.status.value,
                attempts=str(delivery.attempt_count),
                responseCode=str(delivery.response_code or ""),
            )

    if ended:
        transaction.after_commit(tell)
