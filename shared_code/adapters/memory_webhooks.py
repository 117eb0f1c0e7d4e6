"""A webhook service in memory, for tests of services: it records what it is told, and can be down or refuse."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code import errors
from shared_code.model import Delivery, Endpoint, Event, EventType
from shared_code.ports import Outcome, Refused


@dataclass(frozen=True, slots=True)
class Opened:
    """An endpoint as the service knows it; `known_as` is the service's own id for it."""

    endpoint: Endpoint
    secret: str = field(repr=False)
    known_as: str


@dataclass(slots=True, eq=False)
class MemoryWebhookService:
    down: bool = False
    refusals: dict[str, str] = field(default_factory=dict[str, str])
    """Why it will never take this endpoint id, event id, event type or partner id."""
    opened: dict[str, Opened] = field(default_factory=dict[str, Opened])
    closed: list[UUID] = field(default_factory=list[UUID])
    event_types: dict[str, EventType] = field(default_factory=dict[str, EventType])
    sent: dict[tuple[UUID, str], Event] = field(default_factory=dict[tuple[UUID, str], Event])
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Every call in order, those that failed too: what was called, and for what."""
    known_outcomes: dict[tuple[UUID, str], dict[str, Outcome]] = field(
        default_factory=dict[tuple[UUID, str], dict[str, Outcome]]
    )

    async def open_endpoint(self, endpoint: Endpoint, secret: str) -> str:
        self._take("open_endpoint", endpoint.endpoint_id)
        known_as = f"ep_{endpoint.endpoint_id}"
        self.opened.setdefault(endpoint.endpoint_id, Opened(endpoint, secret, known_as))
        return known_as

    async def close_partner(self, partner_id: UUID) -> None:
        self._take("close_partner", str(partner_id))
        self.closed.append(partner_id)
        self.opened = {id: opened for id, opened in self.opened.items() if opened.endpoint.partner_id != partner_id}

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        self._take("put_endpoint", endpoint.endpoint_id)
        if endpoint.endpoint_id in self.opened:
            self.opened[endpoint.endpoint_id] = replace(self.opened[endpoint.endpoint_id], endpoint=endpoint)

    async def close_endpoint(self, endpoint: Endpoint) -> None:
        self._take("close_endpoint", endpoint.endpoint_id)
        self.opened.pop(endpoint.endpoint_id, None)

    async def rotate_secret(self, endpoint: Endpoint, secret: str, grace: timedelta) -> None:
        self._take("rotate_secret", endpoint.endpoint_id)
        self.opened[endpoint.endpoint_id] = replace(self.opened[endpoint.endpoint_id], secret=secret)

    async def send_test(self, endpoint: Endpoint, event_type: str) -> None:
        self._take("send_test", endpoint.endpoint_id)

    async def resend(self, delivery: Delivery) -> None:
        self._take("resend", delivery.event_id)

    async def put_event_type(self, event_type: EventType) -> None:
        self._take("put_event_type", event_type.name)
        self.event_types[event_type.name] = event_type

    async def send(self, event: Event) -> None:
        self._take("send", event.event_id)
        self.sent.setdefault((event.partner_id, event.event_id), event)

    async def outcomes(self, partner_id: UUID, event_id: str) -> Sequence[Outcome]:
        self._take("outcomes", event_id)
        return list(self.known_outcomes.get((partner_id, event_id), {}).values())

    async def recent(
        self, partner_id: UUID, endpoint_id: str, since: datetime, event_ids: Collection[str]
    ) -> Mapping[str, Outcome]:
        self._take("recent", endpoint_id)
        known = {each: self.known_outcomes.get((partner_id, each), {}).get(endpoint_id) for each in event_ids}
        return {event_id: outcome for event_id, outcome in known.items() if outcome and outcome.attempts}

    async def ping(self) -> None:
        self._take("ping", "")

    async def close(self) -> None:
        """Nothing to close."""

    def set_outcome(self, event: Event, outcome: Outcome) -> None:
        """From now on this is what became of the event at the outcome's endpoint."""
        self.known_outcomes.setdefault((event.partner_id, event.event_id), {})[outcome.endpoint_id] = outcome

    def _take(self, call: str, subject: str) -> None:
        self.calls.append((call, subject))
        if self.down:
            raise errors.WebhookServiceUnavailable()
        if subject in self.refusals:
            raise Refused(self.refusals[subject])
