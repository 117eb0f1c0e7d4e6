"""ports.Replies: one worker per Idempotency-Key, and one answer."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared_code import errors
from shared_code.model import StoredReply
from shared_code.ports import Store
from tests.contracts.acting import apart, undone, within

REPLY = StoredReply(
    fingerprint=bytes(range(32)), status=201, headers={"Location": "/api/x"}, body_encrypted="v1.k1.sealed"
)
NAME = ("tenant", "POST /api/events", "key-1")
HOUR = timedelta(hours=1)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + HOUR


async def claim(store: Store, *name: str) -> StoredReply | None:
    return await apart(within(store, lambda transaction: transaction.replies.claim(*(name or NAME))))


async def keep(store: Store, reply: StoredReply, until: datetime) -> None:
    await within(store, lambda transaction: transaction.replies.keep(*NAME, reply, until))


async def test_a_new_key_has_no_answer_and_a_kept_one_comes_back(store: Store):
    async with store.transaction() as transaction:
        assert await transaction.replies.claim(*NAME) is None
        await transaction.replies.keep(*NAME, REPLY, in_an_hour())
    assert await claim(store) == REPLY
    assert await claim(store) == REPLY


async def test_the_twin_in_flight_is_refused_at_once(store: Store):
    async with store.transaction() as transaction:
        assert await transaction.replies.claim(*NAME) is None
        with pytest.raises(errors.IdempotencyInFlight) as refusal:
            async with asyncio.timeout(1):
                await claim(store)
        assert refusal.value.headers["Retry-After"] == "1"
        await transaction.replies.keep(*NAME, REPLY, in_an_hour())
    assert await claim(store) == REPLY


async def test_a_key_that_was_answered_is_also_replayed_by_one_at_a_time(store: Store):
    await keep(store, REPLY, in_an_hour())
    async with store.transaction() as transaction:
        assert await transaction.replies.claim(*NAME) == REPLY
        with pytest.raises(errors.IdempotencyInFlight):
            await claim(store)


async def test_other_keys_routes_and_tenants_do_not_wait(store: Store):
    async with store.transaction() as transaction:
        await transaction.replies.claim(*NAME)
        for other in (("tenant", NAME[1], "key-2"), ("tenant", "POST /api/keys", NAME[2]), ("other", *NAME[1:])):
            assert await claim(store, *other) is None


async def test_one_transaction_may_claim_a_key_again(store: Store):
    async with store.transaction() as transaction:
        await transaction.replies.claim(*NAME)
        await transaction.replies.keep(*NAME, REPLY, in_an_hour())
        assert await transaction.replies.claim(*NAME) == REPLY


async def test_failed_work_leaves_the_key_free_and_without_an_answer(store: Store):
    async with undone(store) as transaction:
        await transaction.replies.claim(*NAME)
        await transaction.replies.keep(*NAME, REPLY, in_an_hour())
    assert await claim(store) is None


async def test_of_twenty_twins_at_once_one_works_and_the_others_are_refused_or_answered(store: Store):
    worked: list[int] = []

    async def once(index: int) -> StoredReply | None:
        async with store.transaction() as transaction:
            kept = await transaction.replies.claim(*NAME)
            if kept is None:
                worked.append(index)
                await transaction.replies.keep(*NAME, REPLY, in_an_hour())
            return kept

    ended = await asyncio.gather(*(apart(once(index)) for index in range(20)), return_exceptions=True)
    assert len(worked) == 1
    others = [end for index, end in enumerate(ended) if index not in worked]
    assert all(end == REPLY or isinstance(end, errors.IdempotencyInFlight) for end in others)


async def test_an_answer_that_is_too_old_is_as_if_it_were_not_there(store: Store):
    await keep(store, REPLY, datetime.now(UTC) - HOUR)
    assert await claim(store) is None


async def test_a_later_answer_replaces_the_first(store: Store):
    later = StoredReply(fingerprint=b"other", status=202, headers={}, body_encrypted="v1.k1.other")
    await keep(store, REPLY, datetime.now(UTC) - HOUR)
    await keep(store, later, in_an_hour())
    assert await claim(store) == later
