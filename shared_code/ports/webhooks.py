"""The webhook service."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from shared_code import errors
from shared_code.model import Attempt, Delivery, Endpoint, Event, EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one event at one endpoint so far; attempts oldest first."""

    endpoint_id: str
    attempts: Sequence[Attempt]
    next_retry_at: datetime | None


class WebhookEndpoints(Protocol):
    """Where the webhook service delivers. Every call but `rotate_secret` is safe to repeat."""

    async def open_endpoint(self, endpoint: Endpoint, secret: str) -> str:
        """Makes the partner known if need be, and the endpoint; answers the service's own id for it."""
        ...

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        """The service's copy becomes what ours says: URL, event types, description, enabled."""
        ...

    async def close_endpoint(self, endpoint: Endpoint) -> None: ...
    async def close_partner(self, partner_id: UUID) -> None: ...
    async def rotate_secret(self, endpoint: Endpoint, secret: str, grace: timedelta) -> None:
        """Both sign until the grace ends."""
        ...

    async def send_test(self, endpoint: Endpoint, event_type: str) -> None: ...


class WebhookMessages(Protocol):
    async def put_event_type(self, event_type: EventType) -> None: ...
    async def send(self, event: Event) -> None:
        """Accepted for delivery, once, however often it is called."""
        ...

    async def resend(self, delivery: Delivery) -> None:
        """One more attempt, at once. Raises MessageLost."""
        ...

    async def outcomes(self, partner_id: UUID, event_id: str) -> Sequence[Outcome]: ...
    async def recent(
        self, partner_id: UUID, endpoint_id: str, since: datetime, event_ids: Collection[str]
    ) -> Mapping[str, Outcome]:
        """What became, at this endpoint, of these events, which the service has since then; by event id.

        Quick rather than whole: of an event that is not in the answer nothing is known.
        """
        ...

    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class WebhookService(WebhookEndpoints, WebhookMessages, Protocol):
    """Signs, delivers and retries. Raises:

    WebhookServiceUnavailable: try again later. Refused: this call will never work; a person must look.
    """


class Refused(Exception):
    """The webhook service will never take this; the text says why, without any secret."""


class MessageLost(errors.WebhookServiceUnavailable):
    """The webhook service does not have this message: not yet, or no longer."""
