"""Events out: published once, stored with the debt to send them, then relayed (design.md flow 2)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from shared_code import errors, telemetry
from shared_code.model import Caller, Event, EventType, Json, OutboxKind
from shared_code.ports import Clock, SchemaCheck, Store
from shared_code.services.audit import Fact, note
from shared_code.services.intake import Intake
from shared_code.services.relay import Relay

EVENT_ID = re.compile(r"[A-Za-z0-9\-_.]{1,128}", re.ASCII)
EVENT_TYPE_NAME = re.compile(r"[a-zA-Z0-9\-_]+(\.[a-zA-Z0-9\-_]+)*", re.ASCII)
EVERYONE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    event_type: str
    payload: Json
    event_id: str | None = None
    partner_id: UUID | Literal["*"] | None = None


@dataclass(frozen=True, slots=True)
class EventService:
    store: Store
    relay: Relay
    intake: Intake
    now: Clock
    max_attempts: int

    async def publish(self, caller: Caller, wanted: NewEvent) -> str:
        """Stored, with one delivery per endpoint that wants it, and owed to the webhook service: the event's id.

        The same event id again, for the same partner, changes nothing and answers the same.
        """
        event_id = wanted.event_id or f"evt_{uuid4().hex}"
        check_event_id(event_id)
        if wanted.partner_id == EVERYONE:
            await self._broadcast(caller, wanted, event_id)
        else:
            await self.intake.accept(self._event(caller, wanted, event_id, caller.target(wanted.partner_id)))
        return event_id

    async def _broadcast(self, caller: Caller, wanted: NewEvent, event_id: str) -> None:
        """Three statements, for one partner or for ten thousand."""
        if not caller.is_house:
            raise errors.NotFound("A partner's key publishes for that partner alone.")
        async with self.store.transaction() as transaction:
            await self.intake.check_payload(transaction, wanted.event_type, wanted.payload)
            targets = await transaction.partners.active()
            if not targets:
                return
            event = self._event(caller, wanted, event_id, targets[0])
            new = await transaction.events.add_all(event, targets)
            if new:
                await transaction.deliveries.open_all(event, new, self.max_attempts)
                await transaction.outbox.add_all(OutboxKind.SEND_EVENT, new, event.event_id, event.created_at)
                transaction.after_commit(self.relay.nudge)

    def _event(self, caller: Caller, wanted: NewEvent, event_id: str, partner_id: UUID) -> Event:
        return Event(
            event_id=event_id,
            partner_id=partner_id,
            event_type=wanted.event_type,
            payload=wanted.payload,
            request_id=caller.origin.request_id,
            traceparent=telemetry.traceparent(caller.origin.traceparent),
            created_at=self.now(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTypeChange:
    name: str
    description: str = ""
    schema: Json | None = None
    example: object = None
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class EventTypeService:
    store: Store
    relay: Relay
    schema_check: SchemaCheck
    now: Clock

    async def list(self) -> Sequence[EventType]:
        async with self.store.reading() as reading:
            return await reading.event_types.list()

    async def put(self, caller: Caller, wanted: EventTypeChange) -> EventType:
        if not EVENT_TYPE_NAME.fullmatch(wanted.name) or len(wanted.name) > 128:
            raise errors.InvalidParameter("An event type's name is words of letters, digits, - and _ joined by dots.")
        self._check_example(wanted)
        now = self.now()
        async with self.store.transaction() as transaction:
            before = await transaction.event_types.get(wanted.name)
            event_type = new_event_type(wanted, before, now)
            await transaction.event_types.put(event_type)
            item = await transaction.outbox.add(OutboxKind.PUT_EVENT_TYPE, None, wanted.name, now)
            await note(transaction, caller, put_fact(wanted, before), now)
            transaction.after_commit(lambda: self.relay.work_now([item]))
        return event_type

    def _check_example(self, wanted: EventTypeChange) -> None:
        """Also finds a schema that is none: checking against it names the fault at /schema."""
        if wanted.schema is None:
            return
        problems = self.schema_check(wanted.schema, wanted.example)
        if wanted.example is None:
            problems = [(where, what) for where, what in problems if where.startswith("/schema")]
        violations = [
            errors.Violation(pointer=where if where.startswith("/schema") else f"/example{where}", detail=what)
            for where, what in problems
        ]
        if violations:
            raise errors.InvalidBody(violations=violations)


def check_event_id(event_id: str) -> None:
    """It becomes the webhook service's own id for the message, so its rules hold (facts/svix.md 0.4, §2)."""
    if not EVENT_ID.fullmatch(event_id) or event_id in (".", "..") or event_id.startswith("msg_"):
        detail = "1 to 128 of letters, digits, `-`, `_` and `.`; not starting with `msg_`."
        raise errors.InvalidBody(violations=[errors.Violation(pointer="/event_id", detail=detail)])


def new_event_type(wanted: EventTypeChange, before: EventType | None, now: datetime) -> EventType:
    return EventType(
        name=wanted.name,
        description=wanted.description,
        schema=wanted.schema,
        example=wanted.example,
        deprecated=wanted.deprecated,
        created_at=before.created_at if before else now,
        updated_at=now,
    )


def put_fact(wanted: EventTypeChange, before: EventType | None) -> Fact:
    what = "changed" if before else "added"
    return Fact(
        event_type=f"event_type.{what}",
        message=f"Event type {wanted.name} was {what}.",
        target=wanted.name,
        changes={"description": wanted.description, "deprecated": wanted.deprecated},
    )
