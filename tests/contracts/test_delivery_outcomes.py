"""ports.Deliveries: what is learned of a delivery is kept, and only ever moves it forward."""

from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as any_

from shared_code import errors
from shared_code.model import DeliveryStatus
from shared_code.ports import Store
from tests.contracts.acting import LEASE, due, known, learn, one_delivery, within
from tests.contracts.samples import MINUTE, NOW, SECOND, new_attempt


async def test_what_is_learned_is_stored_with_its_attempts(store: Store):
    delivery = await one_delivery(store)
    failed = new_attempt(delivery.endpoint_id, NOW, None, error="timeout")
    worked = new_attempt(delivery.endpoint_id, NOW + SECOND, 204, response_body="")
    learned = delivery.learned([failed], NOW + MINUTE, NOW)
    assert await learn(store, learned, [failed], NOW + MINUTE) == learned
    done = learned.learned([failed, worked], None, NOW)
    assert await learn(store, done, [failed, worked]) == done
    assert done.status is DeliveryStatus.DELIVERED
    async with store.reading() as reading:
        assert await reading.deliveries.attempts(delivery.id) == [failed, worked]


async def test_learning_the_same_again_changes_nothing(store: Store):
    delivery = await one_delivery(store)
    attempts = [new_attempt(delivery.endpoint_id, NOW + index * SECOND) for index in range(3)]
    learned = delivery.learned(attempts, None, NOW)
    for _ in range(2):
        assert await learn(store, learned, attempts) == learned
    async with store.reading() as reading:
        assert await reading.deliveries.attempts(delivery.id) == attempts


async def test_a_delivered_one_stays_delivered_and_is_not_asked_for_again(store: Store):
    delivery = await one_delivery(store)
    done = delivery.learned([new_attempt(delivery.endpoint_id, NOW, 200)], None, NOW)
    await learn(store, done, [])
    late = replace(done, status=DeliveryStatus.FAILED, attempt_count=9, delivered_at=None, response_code=500)
    assert await learn(store, late, []) == done
    assert await due(store, NOW + 1000 * LEASE) == []


async def test_who_knows_fewer_attempts_is_too_late_even_to_say_when_to_ask_again(store: Store):
    delivery = await one_delivery(store)
    three = replace(delivery, status=DeliveryStatus.FAILED, attempt_count=3, response_code=500)
    await learn(store, three, [])
    two = replace(delivery, status=DeliveryStatus.RETRYING, attempt_count=2, next_retry_at=NOW + MINUTE)
    assert await learn(store, two, [], NOW) == three
    assert await due(store, NOW + 1000 * LEASE) == []
    await learn(store, three, [], NOW)
    assert await learn(store, replace(two, status=DeliveryStatus.FAILED), []) == three
    assert await due(store) == [three]


async def test_a_failed_one_can_still_be_delivered(store: Store):
    delivery = await one_delivery(store)
    failed = delivery.learned([new_attempt(delivery.endpoint_id, NOW)], None, NOW)
    await learn(store, failed, [])
    by_hand = [new_attempt(delivery.endpoint_id, NOW), new_attempt(delivery.endpoint_id, NOW + SECOND, 200)]
    assert (await learn(store, failed.learned(by_hand, None, NOW), [])).status is DeliveryStatus.DELIVERED


async def test_attempts_of_a_delivery_that_is_not_there_are_refused(store: Store):
    delivery = replace(await one_delivery(store), id=uuid4())
    attempt = new_attempt(delivery.endpoint_id, NOW)
    with pytest.raises(errors.NotFound):
        await within(store, lambda transaction: transaction.deliveries.learn(delivery, [attempt], None))


async def test_attempts_are_given_oldest_first(store: Store):
    delivery = await one_delivery(store)
    attempts = [
        new_attempt(delivery.endpoint_id, NOW, attempt_id="b"),
        new_attempt(delivery.endpoint_id, NOW - SECOND, attempt_id="c"),
        new_attempt(delivery.endpoint_id, NOW, attempt_id="a"),
    ]
    await learn(store, delivery, attempts)
    async with store.reading() as reading:
        found = await reading.deliveries.attempts(delivery.id)
    assert [attempt.attempt_id for attempt in found] == ["c", "a", "b"]


STATUSES = any_.sampled_from([status for status in DeliveryStatus if status is not DeliveryStatus.PENDING])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(news=any_.lists(any_.tuples(STATUSES, any_.integers(1, 5)), max_size=6))
async def test_in_whatever_order_news_arrives_a_delivery_moves_forward(
    store: Store, news: list[tuple[DeliveryStatus, int]]
):
    delivery = await one_delivery(store)
    for status, count in news:
        before = await known(store, delivery)
        after = await learn(store, replace(delivery, status=status, attempt_count=count), [])
        assert after.attempt_count >= before.attempt_count
        if before.status is DeliveryStatus.DELIVERED:
            assert after == before
