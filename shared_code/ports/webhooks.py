"""The webhook service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from shared_code.model import Attempt, Endpoint, Event, EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one event at one endpoint so far; attempts oldest first."""

    endpoint_id: str
    attempts: Sequence[Attempt]
    next_retry_at: datetime | None


class WebhookService(Protocol):
    """Signs, delivers and retries. Every call is safe to repeat. Raises:

    WebhookServiceUnavailable: try again later. Refused: this call will never work; a person must look.
    """

    async def open_endpoint(self, endpoint: Endpoint, secret: str) -> str:
        """Makes the partner known if need be, and the endpoint; answers the service's own id for it."""
        ...

    async def close_partner(self, partner_id: UUID) -> None: ...
    async def put_event_type(self, event_type: EventType) -> None: ...
    async def send(self, event: Event) -> None:
        """Accepted for delivery, once, however often it is called."""
        ...

    async def outcomes(self, partner_id: UUID, event_id: str) -> Sequence[Outcome]: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class Refused(Exception):
    """The webhook service will never take this; the text says why, without any secret."""
