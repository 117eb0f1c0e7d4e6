"""ports.FigureBook: what stands in the store at one moment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared_code.model import Origin, OutboxKind, PartnerStatus
from shared_code.ports import Figures, Store
from tests.contracts.acting import stored_partner
from tests.contracts.samples import new_partner, new_review

NOTHING = Figures(
    active_partners=0,
    outbox_owed=0,
    outbox_buried=0,
    outbox_age_seconds=0.0,
    inbox_owed=0,
    reviews_open=0,
    deliveries_unfinished=0,
)
HOUR = timedelta(hours=1)


async def read(store: Store) -> Figures:
    async with store.reading() as reading:
        return await reading.figures.read()


async def test_an_empty_store(store: Store):
    assert await read(store) == NOTHING


async def test_only_active_partners_count(store: Store):
    async with store.transaction() as transaction:
        await transaction.partners.add(new_partner())
        await transaction.partners.add(new_partner(status=PartnerStatus.SUSPENDED))
    assert (await read(store)).active_partners == 1


async def test_what_is_owed_and_since_when(store: Store):
    partner, now = await stored_partner(store), datetime.now(UTC)
    async with store.transaction() as transaction:
        await transaction.outbox.add(OutboxKind.PUT_EVENT_TYPE, None, "a", now - HOUR)
        await transaction.outbox.add(OutboxKind.PUT_EVENT_TYPE, None, "later", now + HOUR)
        buried = await transaction.outbox.add(OutboxKind.PUT_EVENT_TYPE, None, "b", now - 2 * HOUR)
        await transaction.outbox.bury(buried, now, "refused")
        done = await transaction.outbox.add(OutboxKind.PUT_EVENT_TYPE, None, "c", now - 3 * HOUR)
        await transaction.outbox.done([done], now)
        await transaction.inbox.add(partner.partner_id, "msg_1", b"{}", Origin(request_id="r"), now)
    figures = await read(store)
    assert 3600 <= figures.outbox_age_seconds < 3700
    assert replace(figures, outbox_age_seconds=0.0) == replace(
        NOTHING, active_partners=1, outbox_owed=2, outbox_buried=1, inbox_owed=1
    )


async def test_a_review_counts_until_it_is_resolved(store: Store):
    review, now = new_review(), datetime.now(UTC)
    async with store.transaction() as transaction:
        await transaction.reviews.add(review)
    assert (await read(store)).reviews_open == 1
    async with store.transaction() as transaction:
        await transaction.reviews.settle(review.kind, review.subject, "done", now)
    assert (await read(store)).reviews_open == 0
