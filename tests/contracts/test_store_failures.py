"""ports.Store: every failure is one of ours, and none leaves something half done."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg
import pytest

from shared_code import errors
from shared_code.adapters.postgres_store import PostgresStore, translated
from shared_code.model import OutboxKind
from shared_code.ports import Store, Transaction
from tests.contracts.acting import stored_partner, undone, within
from tests.contracts.samples import NOW, new_endpoint, new_event, new_key, new_partner, new_user

NOWHERE = "postgresql://nobody:nothing@127.0.0.1:9/nowhere"


async def test_what_is_already_there_is_a_conflict(store: Store):
    partner, key, user = new_partner(), new_key(None), new_user()

    async def add(transaction: Transaction) -> None:
        await transaction.partners.add(partner)

    await within(store, add)
    for again in (add, lambda other: other.keys.add(key), lambda other: other.users.add(user)):
        with pytest.raises(errors.Conflict):
            await within(store, lambda transaction, again=again: twice(transaction, again))


async def twice(transaction: Transaction, work: Callable[[Transaction], Awaitable[None]]) -> None:
    await work(transaction)
    await work(transaction)


async def test_what_belongs_to_nothing_is_refused(store: Store):
    stranger = new_partner().partner_id
    attempts = (
        lambda transaction: transaction.keys.add(new_key(stranger)),
        lambda transaction: transaction.endpoints.add(new_endpoint(stranger)),
        lambda transaction: transaction.events.add(new_event(stranger)),
        lambda transaction: transaction.outbox.add(OutboxKind.CLOSE_PARTNER, stranger, "", NOW),
    )
    for attempt in attempts:
        with pytest.raises(errors.NotFound):
            await within(store, attempt)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"name": "nul \0 inside"},
        {"name": "half a pair \ud800"},
        {"rate_limit_per_minute": 0},
        {"rate_limit_per_minute": 2**31},
        {"metadata": {"a": "nul \0 inside"}},
        {"metadata": {"half a pair": ["\ud800"]}},
        {"metadata": {"huge": 2**70}},
        {"metadata": {"not JSON": object()}},
    ],
)
async def test_what_does_not_fit_is_refused(store: Store, changes: dict[str, object]):
    with pytest.raises(errors.InvalidBody):
        await within(store, lambda transaction: transaction.partners.add(new_partner(**changes)))


async def test_a_failure_is_one_of_ours_inside_the_block_already(store: Store):
    partner = await stored_partner(store)
    async with undone(store) as transaction:
        with pytest.raises(errors.Conflict):
            await transaction.partners.add(partner)


async def test_a_failure_that_is_swallowed_never_passes_for_a_commit(store: Store):
    partner, other, ran = await stored_partner(store), new_partner(), []

    async def act() -> None:
        ran.append(True)

    async def swallow(transaction: Transaction) -> None:
        transaction.after_commit(act)
        await transaction.partners.add(other)
        with suppress(errors.Conflict):
            await transaction.partners.add(partner)

    with pytest.raises(errors.PinkSyncError):
        await within(store, swallow)
    async with store.reading() as reading:
        assert await reading.partners.get(other.partner_id) is None
    assert ran == []


async def test_after_a_failure_a_transaction_does_nothing_more(store: Store):
    partner = await stored_partner(store)
    async with undone(store) as transaction:
        with suppress(errors.Conflict):
            await transaction.partners.add(partner)
        with pytest.raises(errors.PinkSyncError):
            await transaction.partners.add(new_partner())


async def test_the_store_answers_a_ping(store: Store):
    await store.ping()


# ── Only where there is a server ─────────────────────────────────────────────────────────────────


async def test_a_database_out_of_reach_is_store_unavailable():
    unreachable = PostgresStore(NOWHERE)
    try:
        with pytest.raises(errors.StoreUnavailable) as refusal:
            await unreachable.ping()
    finally:
        await unreachable.close()
    assert refusal.value.headers["Retry-After"] == "5"


def test_every_error_of_the_driver_becomes_one_of_ours():
    kinds = [kind for kind in vars(psycopg.errors).values() if isinstance(kind, type)]
    for kind in (kind for kind in kinds if issubclass(kind, psycopg.Error)):
        with pytest.raises(errors.PinkSyncError), translated():
            raise kind


async def test_a_closed_store_opens_again(store: Store):
    await store.ping()
    await store.close()
    await store.ping()
