"""ports.Inbox and ports.InboundSecrets: each message is kept once, and worked by one at a time until it is done."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from shared_code import errors
from shared_code.model import InboundSecret, InboxItem, Origin, RecordName, Turn
from shared_code.ports import Store
from tests.contracts.acting import at_once, stored_partner, undone, within
from tests.contracts.samples import MINUTE, NOW, SECOND

LEASE = timedelta(seconds=30)
BODY = b'{"type":"x"} \x00\xff'


async def receive(store: Store, partner_id: UUID, message_id: str = "msg_1", now=NOW) -> int | None:
    origin = Origin(request_id="req-1")
    return await within(store, lambda transaction: transaction.inbox.add(partner_id, message_id, BODY, origin, now))


async def claim(store: Store, now=NOW, limit: int = 100) -> Sequence[InboxItem]:
    return await within(store, lambda transaction: transaction.inbox.claim(now, LEASE, limit))


async def claimed(store: Store, now=NOW, limit: int = 100) -> list[int]:
    return [item.id for item in await claim(store, now, limit)]


async def test_a_message_is_kept_as_it_came_and_claimed(store: Store):
    partner = await stored_partner(store)
    number = await receive(store, partner.partner_id)
    assert number
    expected = InboxItem(
        id=number,
        partner_id=partner.partner_id,
        message_id="msg_1",
        body=BODY,
        request_id="req-1",
        attempts=1,
        received_at=NOW,
    )
    assert await claim(store) == [expected]
    async with store.reading() as reading:
        assert await reading.inbox.get(number) == expected
        assert await reading.inbox.get(number + 1000) is None


async def test_the_same_message_of_the_same_partner_is_kept_once(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    first = await receive(store, partner.partner_id)
    assert await receive(store, partner.partner_id) is None
    assert await receive(store, other.partner_id) not in (None, first)
    assert len(await claim(store)) == 2


async def test_of_twenty_twins_at_once_one_is_kept(store: Store):
    partner = await stored_partner(store)
    origin = Origin(request_id="req-1")
    kept = await at_once(store, 20, lambda other: other.inbox.add(partner.partner_id, "msg_1", BODY, origin, NOW))
    assert sum(number is not None for number in kept) == 1


async def test_a_message_of_nobody_is_refused(store: Store):
    with pytest.raises(errors.NotFound):
        await receive(store, uuid4())


async def test_a_claimed_message_is_nobody_elses_until_the_lease_ends(store: Store):
    partner = await stored_partner(store)
    number = await receive(store, partner.partner_id)
    async with undone(store) as transaction:
        assert len(await transaction.inbox.claim(NOW, LEASE, 10)) == 1
    assert await claimed(store) == [number]
    assert await claimed(store, NOW + LEASE - SECOND) == []
    (again,) = await claim(store, NOW + LEASE)
    assert (again.id, again.attempts) == (number, 2)


async def test_twenty_at_once_claim_each_message_once(store: Store):
    partner = await stored_partner(store)
    numbers = [await receive(store, partner.partner_id, f"msg_{index}") for index in range(30)]
    shares = await at_once(store, 20, lambda transaction: transaction.inbox.claim(NOW, LEASE, 2))
    taken = [item.id for share in shares for item in share]
    assert all(len(share) <= 2 for share in shares)
    assert len(taken) == len(set(taken))
    assert {*taken, *await claimed(store)} == set(numbers)


async def test_what_is_done_postponed_or_buried_is_claimed_accordingly(store: Store):
    partner = await stored_partner(store)
    done, postponed, buried = [await receive(store, partner.partner_id, f"msg_{index}") or 0 for index in range(3)]
    async with store.transaction() as transaction:
        await transaction.inbox.done(done, NOW)
        await transaction.inbox.postpone(postponed, NOW + SECOND, "no route")
        await transaction.inbox.bury(buried, NOW, "no route")
    assert await claimed(store) == []
    assert await claimed(store, NOW + 100 * LEASE) == [postponed]


async def test_a_buried_message_can_be_worked_once_more_and_no_other(store: Store):
    partner = await stored_partner(store)
    buried, done = [await receive(store, partner.partner_id, f"msg_{index}") or 0 for index in range(2)]
    await claim(store)
    async with store.transaction() as transaction:
        await transaction.inbox.bury(buried, NOW, "no route")
        await transaction.inbox.done(done, NOW)
        await transaction.inbox.revive(buried, NOW + SECOND)
        await transaction.inbox.revive(done, NOW + SECOND)
    assert await claimed(store) == []
    (again,) = await claim(store, NOW + SECOND)
    assert (again.id, again.attempts) == (buried, 1)


# ── The secrets ──────────────────────────────────────────────────────────────────────────────────


def new_secret(partner_id: UUID, sealed: str, expires_at=None) -> InboundSecret:
    return InboundSecret(partner_id=partner_id, secret_encrypted=sealed, expires_at=expires_at, created_at=NOW)


async def living(store: Store, partner_id: UUID, now=NOW) -> Sequence[InboundSecret]:
    async with store.reading() as reading:
        return await reading.inbound_secrets.live(partner_id, now)


async def test_living_secrets_come_newest_first_and_end_when_they_expire(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    old = new_secret(partner.partner_id, "old", NOW + SECOND)
    new = new_secret(partner.partner_id, "new")
    async with store.transaction() as transaction:
        for secret in (old, new, new_secret(other.partner_id, "foreign")):
            await transaction.inbound_secrets.add(secret)
    assert await living(store, partner.partner_id) == [new, old]
    assert await living(store, partner.partner_id, NOW + SECOND) == [new]


async def test_expiring_lets_the_newest_live_until_then_ends_the_others_and_lengthens_nothing(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    soon = new_secret(partner.partner_id, "soon", NOW + SECOND)
    for secret in (soon, new_secret(partner.partner_id, "open"), new_secret(other.partner_id, "foreign")):
        await within(store, lambda transaction, secret=secret: transaction.inbound_secrets.add(secret))
    end = NOW + 10 * SECOND
    await within(store, lambda transaction: transaction.inbound_secrets.expire(partner.partner_id, end, NOW))
    assert await living(store, partner.partner_id) == [new_secret(partner.partner_id, "open", end)]
    assert await living(store, partner.partner_id, end) == []
    await within(
        store, lambda transaction: transaction.inbound_secrets.expire(partner.partner_id, 2 * SECOND + end, NOW)
    )
    assert await living(store, partner.partner_id, end) == []
    assert len(await living(store, other.partner_id, end)) == 1


async def test_a_secret_of_nobody_is_refused(store: Store):
    with pytest.raises(errors.NotFound):
        await within(store, lambda transaction: transaction.inbound_secrets.add(new_secret(uuid4(), "x")))


# ── Turns ────────────────────────────────────────────────────────────────────────────────────────


async def turn(store: Store, record: RecordName, at: datetime, now: datetime = NOW) -> Turn:
    return await within(store, lambda transaction: transaction.inbox.take_turn(record, at, now, MINUTE))


async def test_what_happened_earlier_has_no_turn_after_what_happened_later(store: Store):
    record = ((await stored_partner(store)).partner_id, "orders", "ext-1")
    other = (record[0], "orders", "ext-2")
    assert await turn(store, record, NOW) is Turn.TAKEN
    assert await turn(store, record, NOW - SECOND) is Turn.STALE
    assert await turn(store, record, NOW + SECOND) is Turn.HELD
    assert await turn(store, other, NOW - SECOND) is Turn.TAKEN
    await within(store, lambda transaction: transaction.inbox.end_turn(record, NOW))
    assert await turn(store, record, NOW - SECOND) is Turn.STALE
    assert await turn(store, record, NOW) is Turn.TAKEN


async def test_a_turn_that_nobody_ended_ends_with_its_lease(store: Store):
    record = ((await stored_partner(store)).partner_id, "orders", "ext-1")
    assert await turn(store, record, NOW) is Turn.TAKEN
    assert await turn(store, record, NOW, NOW + MINUTE - SECOND) is Turn.HELD
    assert await turn(store, record, NOW, NOW + MINUTE) is Turn.TAKEN


async def test_of_many_at_once_one_has_the_turn(store: Store):
    record = ((await stored_partner(store)).partner_id, "orders", "ext-1")
    turns = await at_once(store, 8, lambda transaction: transaction.inbox.take_turn(record, NOW, NOW, MINUTE))
    assert sorted(turns) == [Turn.HELD] * 7 + [Turn.TAKEN]
