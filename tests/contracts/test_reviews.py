"""ports.Reviews: what a person must look at, once each."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from shared_code import errors
from shared_code.model import Page, Review, ReviewKind
from shared_code.ports import Store
from tests.contracts.acting import at_once, by_cursor, by_offset, stored_partner, within
from tests.contracts.samples import NOW, SECOND, new_review

EXHAUSTED, UNROUTABLE = ReviewKind.DELIVERY_EXHAUSTED, ReviewKind.INBOUND_UNROUTABLE


async def added(store: Store, *reviews: Review) -> list[bool]:
    async with store.transaction() as transaction:
        return [await transaction.reviews.add(review) for review in reviews]


async def test_a_review_is_found_as_it_was_added(store: Store):
    partner = await stored_partner(store)
    reviews = [new_review(partner_id=partner.partner_id), new_review()]
    assert await added(store, *reviews) == [True, True]
    async with store.reading() as reading:
        for review in reviews:
            assert await reading.reviews.get(review.review_id) == review
        assert await reading.reviews.get(uuid4()) is None


async def test_a_subject_has_one_review_of_a_kind_and_the_first_stays(store: Store):
    first = new_review(kind=EXHAUSTED, subject="7")
    again = new_review(kind=EXHAUSTED, subject="7", reason="another")
    other_kind = new_review(kind=UNROUTABLE, subject="7")
    assert await added(store, first, again, other_kind) == [True, False, True]
    assert await added(store, again) == [False]
    async with store.reading() as reading:
        assert await reading.reviews.get(first.review_id) == first
        assert await reading.reviews.get(again.review_id) is None


async def test_what_fails_again_after_it_was_resolved_opens_its_review_again(store: Store):
    first = new_review(kind=EXHAUSTED, subject="7")
    await added(store, first)
    resolved = replace(first, note="replayed", resolved_by="pk_live_house", resolved_at=NOW)
    await within(store, lambda transaction: transaction.reviews.save(resolved))
    assert await added(store, new_review(kind=EXHAUSTED, subject="7", reason="failed again")) == [True]
    assert await added(store, new_review(kind=EXHAUSTED, subject="7", reason="and again")) == [False]
    async with store.reading() as reading:
        assert (await reading.reviews.list(Page())).items == [replace(first, reason="failed again")]


async def test_of_twins_at_once_one_is_added(store: Store):
    added_ = await at_once(store, 10, lambda transaction: transaction.reviews.add(new_review(subject="7")))
    assert sorted(added_) == [False] * 9 + [True]


async def test_a_review_for_nobody_is_refused(store: Store):
    with pytest.raises(errors.NotFound):
        await added(store, new_review(partner_id=uuid4()))


async def test_saving_settles_a_review_and_changes_nothing_else(store: Store):
    review = new_review()
    await added(store, review)
    settled = replace(review, note="called them", resolved_by="pk_live_house", resolved_at=NOW + SECOND)
    await within(store, lambda transaction: transaction.reviews.save(replace(settled, reason="x", subject="y")))
    async with store.transaction() as transaction:
        assert await transaction.reviews.get(review.review_id, lock=True) == settled


async def test_the_list_is_newest_first_and_filtered_by_kind_and_state(store: Store):
    old, new = new_review(kind=EXHAUSTED), new_review(kind=UNROUTABLE, created_at=NOW + SECOND)
    await added(store, old, new)
    settled = replace(old, note="done", resolved_by="someone", resolved_at=NOW)
    await within(store, lambda transaction: transaction.reviews.save(settled))
    async with store.reading() as reading:
        assert (await reading.reviews.list(Page())).items == [new, settled]
        assert (await reading.reviews.list(Page(), kind=EXHAUSTED)).items == [settled]
        assert (await reading.reviews.list(Page(), open=True)).items == [new]
        assert (await reading.reviews.list(Page(), open=False)).items == [settled]
        assert (await reading.reviews.list(Page(), kind=EXHAUSTED, open=True)).items == []


async def test_every_review_is_on_exactly_one_page_while_others_arrive(store: Store):
    reviews = [new_review(created_at=NOW + (index // 2) * SECOND) for index in range(5)]
    await added(store, *reviews)
    async with store.reading() as reading:
        offset = await by_offset(reading.reviews.list, 2)
        cursor = await by_cursor(
            reading.reviews.list, 2, lambda: added(store, new_review(created_at=NOW + timedelta(hours=1)))
        )
    assert cursor == offset == [*reversed(reviews)]
