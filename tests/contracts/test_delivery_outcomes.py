"""ports.Deliveries: what is learned of a delivery is kept, and only ever moves it forward."""

from dataclasses import replace
from datetime import datetime
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as any_

from shared_code import errors
from shared_code.adapters.memory_webhooks import MemoryWebhookService
from shared_code.model import Delivery, DeliveryStatus, OutboxKind
from shared_code.ports import Outcome, Store
from shared_code.services.reconcile import Reconciler
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
    assert await learn(store, late, []) == replace(done, attempt_count=9)
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
            assert after == replace(before, attempt_count=after.attempt_count)


# ── Reconciled ───────────────────────────────────────────────────────────────────────────────────


async def reconciled(store: Store, delivery: Delivery, now: datetime, outcome: Outcome | None = None) -> Delivery:
    """As it stands after the webhook service was asked; None: it cannot be asked."""
    service = MemoryWebhookService(down=outcome is None)
    if outcome:
        service.known_outcomes[delivery.partner_id, delivery.event_id] = {delivery.endpoint_id: outcome}
    await Reconciler(store, service, lambda: now).run()
    return await known(store, delivery)


async def without_endpoint(store: Store, delivery: Delivery, deleted_at: datetime | None = NOW) -> None:
    """As when somebody removes it, or with no time switches it off."""
    async with store.transaction() as transaction:
        endpoint = await transaction.endpoints.get(delivery.endpoint_id, lock=True)
        assert endpoint
        await transaction.endpoints.save(replace(endpoint, enabled=False, deleted_at=deleted_at))
        await transaction.deliveries.check_endpoint(delivery.endpoint_id, NOW)


async def test_the_retries_of_a_removed_endpoint_are_over_at_once(store: Store):
    delivery = await one_delivery(store)
    failing = [new_attempt(delivery.endpoint_id, NOW)]
    later = NOW + 300 * MINUTE
    await learn(store, delivery.learned(failing, later, NOW), failing, later)
    await without_endpoint(store, delivery)
    planned = Outcome(endpoint_id=delivery.endpoint_id, attempts=failing, next_retry_at=later)
    over = await reconciled(store, delivery, NOW, planned)
    assert (over.status, over.next_retry_at, over.attempt_count) == (DeliveryStatus.FAILED, None, 1)
    assert await due(store, NOW + 1000 * LEASE) == []


async def test_the_retries_of_a_disabled_endpoint_are_over_when_their_time_has_passed(store: Store):
    delivery = await one_delivery(store)
    failing = [new_attempt(delivery.endpoint_id, NOW)]
    later = NOW + 300 * MINUTE
    retrying = await learn(store, delivery.learned(failing, later, NOW), failing, later)
    await without_endpoint(store, delivery, deleted_at=None)
    planned = Outcome(endpoint_id=delivery.endpoint_id, attempts=failing, next_retry_at=later)
    for early in (NOW, later + SECOND):
        assert await reconciled(store, delivery, early, planned) == retrying
    over = await reconciled(store, delivery, later + MINUTE, planned)
    assert (over.status, over.next_retry_at) == (DeliveryStatus.FAILED, None)


async def test_a_first_attempt_that_may_be_under_way_is_waited_for(store: Store):
    delivery = await one_delivery(store)
    await without_endpoint(store, delivery)
    nothing = Outcome(endpoint_id=delivery.endpoint_id, attempts=(), next_retry_at=None)
    assert await reconciled(store, delivery, NOW + SECOND, nothing) == delivery
    assert (await reconciled(store, delivery, NOW + MINUTE, nothing)).status is DeliveryStatus.SKIPPED


async def test_what_cannot_be_asked_for_is_not_guessed(store: Store):
    delivery = await one_delivery(store)
    await without_endpoint(store, delivery)
    assert await reconciled(store, delivery, NOW + MINUTE) == delivery
    assert await due(store, NOW + 10 * MINUTE) == [delivery]


@pytest.mark.parametrize("before", [DeliveryStatus.RETRYING, DeliveryStatus.DELIVERED])
async def test_what_arrives_while_it_is_owed_once_more_is_owed_no_longer(store: Store, before: DeliveryStatus):
    """But one that had arrived before somebody forced another attempt is still owed that."""
    delivery = await one_delivery(store)
    first = new_attempt(delivery.endpoint_id, NOW, 500 if before is DeliveryStatus.RETRYING else 204)
    await learn(store, delivery.learned([first], NOW + MINUTE, NOW), [first], NOW)
    owed = OutboxKind.RESEND_DELIVERY, delivery.partner_id, str(delivery.id)
    await within(store, lambda transaction: transaction.outbox.add(*owed, NOW))
    await within(store, lambda transaction: transaction.deliveries.again(delivery.id, NOW))
    attempts = [first, new_attempt(delivery.endpoint_id, NOW + SECOND, 204)]
    arrived = Outcome(endpoint_id=delivery.endpoint_id, attempts=attempts, next_retry_at=None)
    assert (await reconciled(store, delivery, NOW + SECOND, arrived)).status is DeliveryStatus.DELIVERED
    async with store.reading() as reading:
        assert await reading.outbox.owes(*owed) is (before is DeliveryStatus.DELIVERED)
