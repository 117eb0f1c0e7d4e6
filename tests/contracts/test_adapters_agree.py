"""Whatever is done to an outbox, in whatever order, memory and PostgreSQL give the same answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as any_

from shared_code.adapters.memory_store import MemoryStore
from shared_code.adapters.postgres_store import PostgresStore
from shared_code.model import OutboxKind, Partner
from shared_code.ports import Store, Transaction
from tests.contracts.acting import within
from tests.contracts.samples import NOW, SECOND, new_partner

LEASE = timedelta(seconds=10)
PARTNERS = (new_partner(), new_partner())

type Step = tuple[str, int, int]
"""What, to which item (counted round the items there are) or for which partner, and how many or how long."""

STEPS = any_.lists(
    any_.tuples(
        any_.sampled_from([*OutboxKind, "claim", "claim", "claim only", "done", "postpone", "bury", "wait"]),
        any_.integers(0, 7),
        any_.integers(1, 12),
    ),
    max_size=25,
)


@dataclass(slots=True)
class Run:
    """One store, taken through the steps; its items are named by their place, as the numbers differ."""

    store: Store
    items: list[int] = field(default_factory=list[int])
    now: datetime = NOW
    told: list[object] = field(default_factory=list[object])

    async def take(self, steps: list[Step]) -> list[object]:
        for partner in PARTNERS:
            await within(self.store, lambda transaction, partner=partner: transaction.partners.add(partner))
        for what, which, amount in steps:
            await within(self.store, lambda transaction, step=(what, which, amount): self.step(transaction, step))
        return self.told

    async def step(self, transaction: Transaction, step: Step) -> None:
        what, which, amount = step
        if what in list(OutboxKind):
            await self.add(transaction, OutboxKind(what), which)
        elif what == "wait":
            self.now += amount * SECOND
        elif what.startswith("claim"):
            await self.claim(transaction, amount, self.items[which:] if what == "claim only" else None)
        elif self.items:
            await self.change(transaction, what, self.items[which % len(self.items)], amount)
        self.told.append(dict(await transaction.outbox.backlog()))

    async def add(self, transaction: Transaction, kind: OutboxKind, which: int) -> None:
        owner: Partner | None = None if kind is OutboxKind.PUT_EVENT_TYPE else PARTNERS[which % len(PARTNERS)]
        owner_id = owner.partner_id if owner else None
        self.items.append(
            await transaction.outbox.add(kind, owner_id, f"subject {which % 3}", self.now + (which - 3) * SECOND)
        )

    async def claim(self, transaction: Transaction, limit: int, only: list[int] | None) -> None:
        claimed = await transaction.outbox.claim(self.now, LEASE, limit, only)
        self.told.append([(self.items.index(item.id), item.kind, item.attempts) for item in claimed])

    async def change(self, transaction: Transaction, what: str, item: int, amount: int) -> None:
        if what == "done":
            await transaction.outbox.done([item], self.now)
        elif what == "postpone":
            await transaction.outbox.postpone(item, self.now + amount * SECOND, "down")
        else:
            await transaction.outbox.bury(item, self.now, "refused")


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
async def test_memory_and_postgres_tell_the_same_story(
    new_postgres_store: Callable[[], PostgresStore], steps: list[Step]
):
    postgres = new_postgres_store()
    try:
        assert await Run(MemoryStore()).take(steps) == await Run(postgres).take(steps)
    finally:
        await postgres.close()
