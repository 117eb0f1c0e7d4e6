"""Where published events are written: those that wait at one moment share one transaction.

Each still has an answer of its own, and none before the commit. One writer per process: while it writes, the
next events gather, so the busier the process is the more of them share the cost of a commit.
"""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field

from shared_code import errors
from shared_code.errors import PinkSyncError
from shared_code.model import Event, EventType, Json, PartnerStatus
from shared_code.ports import SchemaCheck, Store, Transaction
from shared_code.services.relay import Relay

MOST_AT_ONCE = 100
CROWD = 8
"""So many in one batch, and more is published than can be sent at once."""

type Waiting = tuple[Event, asyncio.Future[None]]


@dataclass(eq=False, slots=True)
class Intake:
    store: Store
    relay: Relay
    schema_check: SchemaCheck
    max_attempts: int
    _waiting: list[Waiting] = field(default_factory=list[Waiting])
    _writer: asyncio.Task[None] | None = None

    async def accept(self, event: Event) -> None:
        """Stored when this returns. Raises what is wrong with this event, or StoreUnavailable.

        Inside a transaction it is written there, and stands or falls with it.
        """
        if self.store.inside():
            return await self._write_one(event)
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, accepted))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), context=Context())
        await accepted

    async def check_payload(self, transaction: Transaction, name: str, payload: Json) -> None:
        problem = self._payload_problem((await transaction.event_types.named([name])).get(name), name, payload)
        if problem:
            raise problem

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            if len(batch) >= CROWD:
                self.relay.pace.crowd()
            try:
                problems = await self._write([event for event, _ in batch])
            except PinkSyncError as error:
                problems = await self._one_by_one(batch, error)
            for (_, accepted), problem in zip(batch, problems, strict=True):
                tell(accepted, problem)

    async def _one_by_one(self, batch: Sequence[Waiting], error: PinkSyncError) -> Sequence[PinkSyncError | None]:
        """Nobody suffers for another's event; but when the store itself is away, all are told so."""
        if len(batch) == 1 or isinstance(error, errors.StoreUnavailable):
            return [error] * len(batch)
        problems: list[PinkSyncError | None] = []
        for event, _ in batch:
            try:
                problems += await self._write([event])
            except PinkSyncError as own:
                problems.append(own)
        return problems

    async def _write_one(self, event: Event) -> None:
        (problem,) = await self._write([event])
        if problem:
            raise problem

    async def _write(self, events: Sequence[Event]) -> Sequence[PinkSyncError | None]:
        """What is wrong with each; those with nothing wrong are stored, with their deliveries and their debt."""
        async with self.store.single() as opened:
            types = await opened.event_types.named(list({event.event_type for event in events}))
            problems = [
                self._payload_problem(types.get(event.event_type), event.event_type, event.payload or {})
                for event in events
            ]
            good = [event for event, problem in zip(events, problems, strict=True) if problem is None]
            refused = await opened.publications.add(good, self.max_attempts)
            if self.store.inside():
                opened.after_commit(self.relay.nudge)
        if not self.store.inside():
            await self.relay.nudge()
        return [
            standing_problem(refused[event.partner_id]) if not problem and event.partner_id in refused else problem
            for event, problem in zip(events, problems, strict=True)
        ]

    def _payload_problem(self, event_type: EventType | None, name: str, payload: Json) -> PinkSyncError | None:
        if event_type is None:
            violation = errors.Violation(pointer="/event_type", detail=f"Unknown event type `{name}`.")
            return errors.UnknownEventType(violations=[violation])
        problems = self.schema_check(event_type.schema, payload) if event_type.schema is not None else ()
        violations = [errors.Violation(pointer=f"/payload{where}", detail=what) for where, what in problems]
        if violations:
            return errors.InvalidBody(f"The payload breaks the schema of `{name}`.", violations)
        return None


def standing_problem(status: PartnerStatus | None) -> PinkSyncError:
    if status is None:
        return errors.NotFound("There is no such partner.")
    return errors.Conflict(f"The partner is {status.value}; it gets no events.")


def tell(accepted: asyncio.Future[None], problem: PinkSyncError | None) -> None:
    """Whoever has stopped waiting, as its client went away, is not told."""
    if accepted.done():
        return
    if problem:
        accepted.set_exception(problem)
    else:
        accepted.set_result(None)
