"""ports.Retention on both stores: the oldest leave, in batches, with what belongs to them and nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from shared_code import errors
from shared_code.model import (
    Attempt,
    Delivery,
    DeliveryStatus,
    InboundSecret,
    Origin,
    OutboxKind,
    Page,
    RecordName,
    Review,
    ReviewKind,
    Seen,
    StoredReply,
    Turn,
)
from shared_code.ports import Perishable, Store
from shared_code.services.retention import BATCH, FEW, RetentionService, Rule, table
from shared_code.services.reviews import let_go
from shared_code.settings import Kept
from tests.contracts.acting import learn, opened_deliveries, stored_partner, within
from tests.contracts.samples import MINUTE, NOW, SECOND, new_attempt, new_endpoint, new_event, new_review

ORIGIN = Origin(request_id="req-1")
REPLY = StoredReply(fingerprint=b"f", status=201, headers={}, body_encrypted="sealed")
FOREVER = NOW + timedelta(days=36500)


async def clear(store: Store, what: Perishable, before=NOW, limit: int = 100) -> int:
    return await within(store, lambda transaction: transaction.retention.clear(what, before, limit))


async def test_answers_leave_when_they_are_no_longer_kept(store: Store):
    async with store.transaction() as transaction:
        for index in range(5):
            await transaction.replies.keep("t", "r", str(index), REPLY, FOREVER + index * SECOND)
    assert await clear(store, Perishable.REPLIES, FOREVER) == 0
    assert await clear(store, Perishable.REPLIES, FOREVER + 3 * SECOND, limit=2) == 2
    assert await clear(store, Perishable.REPLIES, FOREVER + 3 * SECOND, limit=2) == 1
    async with store.transaction() as transaction:
        left = [await transaction.replies.claim("t", "r", str(index)) for index in range(5)]
    assert [reply is not None for reply in left] == [False, False, False, True, True]


async def test_what_is_owed_or_buried_never_leaves_the_outbox(store: Store):
    async with store.transaction() as transaction:
        owed, buried, done, young = [
            await transaction.outbox.add(OutboxKind.PUT_EVENT_TYPE, None, str(index), NOW) for index in range(4)
        ]
        await transaction.outbox.bury(buried, NOW, "refused")
        await transaction.outbox.done([done], NOW)
        await transaction.outbox.done([young], NOW + SECOND)
    assert await clear(store, Perishable.OUTBOX, NOW + SECOND) == 1
    await within(store, lambda transaction: transaction.outbox.revive(buried, NOW))
    claimed = await within(store, lambda transaction: transaction.outbox.claim(NOW, SECOND, 10))
    assert [item.id for item in claimed] == [owed, buried]


async def test_a_message_that_is_owed_stays_in_the_inbox_and_one_that_left_may_come_again(store: Store):
    partner = (await stored_partner(store)).partner_id

    async def receive(message_id: str) -> int | None:
        return await within(store, lambda transaction: transaction.inbox.add(partner, message_id, b"{}", ORIGIN, NOW))

    done, owed, buried = await receive("done"), await receive("owed"), await receive("buried")
    assert done
    assert owed
    assert buried
    async with store.transaction() as transaction:
        await transaction.inbox.done(done, NOW)
        await transaction.inbox.bury(buried, NOW, "unroutable")
    assert await clear(store, Perishable.INBOX, FOREVER) == 1
    assert await clear(store, Perishable.INBOX, FOREVER) == 0
    assert await receive("owed") is None
    assert await receive("buried") is None
    assert await receive("done")


async def test_what_tells_an_event_that_comes_late_is_kept_from_the_last_one_on(store: Store):
    partner = (await stored_partner(store)).partner_id
    old, held, young = [(partner, "orders", name) for name in ("old", "held", "young")]

    async def turn(record: RecordName, now: datetime) -> Turn:
        return await within(store, lambda transaction: transaction.inbox.take_turn(record, NOW, now, MINUTE))

    for record in (old, held, young):
        assert await turn(record, NOW) is Turn.TAKEN
    await within(store, lambda transaction: transaction.inbox.end_turn(old, NOW + SECOND))
    await within(store, lambda transaction: transaction.inbox.end_turn(young, NOW + 3 * SECOND))
    assert await clear(store, Perishable.INBOUND_RECORDS, NOW + 2 * SECOND) == 1
    assert await turn(held, NOW + 2 * SECOND) is Turn.HELD
    earlier = NOW - SECOND
    turns = [
        await within(store, lambda transaction, of=record: transaction.inbox.take_turn(of, earlier, FOREVER, MINUTE))
        for record in (old, held, young)
    ]
    assert turns == [Turn.TAKEN, Turn.STALE, Turn.STALE]


async def test_secrets_leave_when_their_grace_is_over_and_the_newest_never(store: Store):
    partner = (await stored_partner(store)).partner_id
    async with store.transaction() as transaction:
        for ends in (NOW, NOW + MINUTE, None):
            secret = InboundSecret(partner_id=partner, secret_encrypted=str(ends), expires_at=ends, created_at=NOW)
            await transaction.inbound_secrets.add(secret)
    assert await clear(store, Perishable.INBOUND_SECRETS, NOW + SECOND) == 1
    async with store.reading() as reading:
        left = await reading.inbound_secrets.live(partner, NOW - MINUTE)
    assert [secret.secret_encrypted for secret in left] == ["None", str(NOW + MINUTE)]
    assert await clear(store, Perishable.INBOUND_SECRETS, FOREVER) == 1


async def test_what_syncs_knew_of_a_removed_partner_leaves_and_that_of_others_stays(store: Store):
    removed = [await stored_partner(store, deleted_at=NOW + index * SECOND) for index in range(2)]
    living = await stored_partner(store)
    async with store.transaction() as transaction:
        for each in (*removed, living):
            seen = [Seen(key=str(index), hash=b"h") for index in range(3)]
            await transaction.records.keep(each.partner_id, "orders", uuid4(), seen)
    assert await clear(store, Perishable.SYNC_RECORDS, NOW + SECOND, limit=2) == 2
    assert await clear(store, Perishable.SYNC_RECORDS, NOW + SECOND, limit=2) == 1
    assert await clear(store, Perishable.SYNC_RECORDS, NOW + SECOND, limit=2) == 0
    async with store.reading() as reading:
        known = [await reading.records.known(each.partner_id, "orders", ["0", "1", "2"]) for each in (*removed, living)]
    assert [len(each) for each in known] == [0, 3, 3]


async def test_what_was_set_aside_leaves_after_its_review_is_resolved_unless_it_is_tried_again(store: Store):
    partner = (await stored_partner(store)).partner_id

    async def set_aside(name: str) -> dict[ReviewKind, int]:
        async with store.transaction() as transaction:
            owed = await transaction.outbox.add(OutboxKind.PUT_EVENT_TYPE, partner, name, NOW)
            message = await transaction.inbox.add(partner, name, b"{}", ORIGIN, NOW)
            assert message
            await transaction.outbox.bury(owed, NOW, "refused")
            await transaction.inbox.bury(message, NOW, "unroutable")
        return {ReviewKind.OUTBOX_REFUSED: owed, ReviewKind.INBOUND_UNROUTABLE: message}

    dropped, again, _ = [await set_aside(name) for name in ("dropped", "again", "unresolved")]
    for what in (Perishable.OUTBOX, Perishable.INBOX):
        assert await clear(store, what, FOREVER) == 0
    async with store.transaction() as transaction:
        for kind, item in dropped.items():
            await let_go(transaction, Review.opened(kind, str(item), partner, "why", NOW), NOW)
        await transaction.outbox.revive(again[ReviewKind.OUTBOX_REFUSED], NOW)
        await transaction.inbox.revive(again[ReviewKind.INBOUND_UNROUTABLE], NOW)
    for what in (Perishable.OUTBOX, Perishable.INBOX):
        assert await clear(store, what, NOW) == 0
        assert await clear(store, what, FOREVER) == 1
    owed = await within(store, lambda transaction: transaction.outbox.claim(NOW, SECOND, 10))
    assert [item.id for item in owed] == [again[ReviewKind.OUTBOX_REFUSED]]
    messages = await within(store, lambda transaction: transaction.inbox.claim(NOW, SECOND, 10))
    assert [item.id for item in messages] == [again[ReviewKind.INBOUND_UNROUTABLE]]
    async with store.reading() as reading:
        assert (await reading.outbox.backlog())["buried"] == 1


async def test_resolved_reviews_leave_and_open_ones_stay(store: Store):
    opened, resolved = new_review(), new_review()
    async with store.transaction() as transaction:
        for review in (opened, resolved):
            await transaction.reviews.add(review)
        await transaction.reviews.save(replace(resolved, resolved_by="me", resolved_at=NOW))
    assert await clear(store, Perishable.REVIEWS) == 0
    assert await clear(store, Perishable.REVIEWS, NOW + SECOND) == 1
    async with store.transaction() as transaction:
        assert [review.review_id for review in (await transaction.reviews.list(Page())).items] == [opened.review_id]
        assert await transaction.reviews.add(resolved)


async def published(store: Store, *, attempts: Sequence[int], payload: bool = False) -> Delivery:
    """A new partner's event with one delivery that has these answers, its payload cleared or not."""
    partner = (await stored_partner(store)).partner_id
    endpoint, event = new_endpoint(partner), new_event(partner)
    (delivery,) = await opened_deliveries(store, [endpoint], event)
    if attempts:
        made: list[Attempt] = [new_attempt(endpoint.endpoint_id, NOW, code) for code in attempts]
        delivery = await learn(store, delivery.learned(made, None, NOW), made)
    if not payload:
        await within(store, lambda transaction: transaction.events.clear(NOW + SECOND, 1))
    return delivery


async def test_an_event_leaves_with_its_deliveries_when_all_are_finished(store: Store):
    finished = await published(store, attempts=[500, 200])
    unfinished = await published(store, attempts=[])
    assert (finished.status, unfinished.status) == (DeliveryStatus.DELIVERED, DeliveryStatus.PENDING)
    with_payload = await published(store, attempts=[200], payload=True)
    assert await clear(store, Perishable.EVENTS, NOW) == 0
    assert await clear(store, Perishable.EVENTS, NOW + SECOND) == 1
    async with store.reading() as reading:
        assert await reading.deliveries.get(finished.id) is None
        assert await reading.deliveries.attempts(finished.id) == []
        assert await reading.events.get(finished.partner_id, finished.event_id) is None
        assert await reading.deliveries.get(unfinished.id) == unfinished
        assert await reading.deliveries.get(with_payload.id) == with_payload
        assert len(await reading.deliveries.attempts(with_payload.id)) == 1


@pytest.mark.parametrize("what", Perishable)
async def test_nothing_there_is_nothing_cleared(store: Store, what: Perishable):
    assert await clear(store, what) == 0


# ── Tables that only PostgreSQL has ──────────────────────────────────────────────────────────────

AGED = {
    Perishable.SESSIONS: "INSERT INTO sessions (sid_hash, sess, expire) VALUES (%s::text::bytea, '{}', %s)",
    Perishable.RATE_LIMITS: """INSERT INTO rate_limits (identifier, endpoint, window_start, window_end)
                               VALUES (%s, '/', now(), %s)""",
    Perishable.SYNC_JOBS: """INSERT INTO sync_jobs (partner_id, job_type, resource, status, completed_at)
                             SELECT partner_id, 'full_sync', %s, 'completed', %s FROM partners LIMIT 1""",
    Perishable.TIMER_RUNS: """INSERT INTO timer_runs (name, result, started_at, ended_at)
                              SELECT %s, 'ok', at, at FROM (SELECT %s::timestamptz) AS moment (at)""",
}


@pytest.mark.parametrize("what", AGED)
async def test_each_table_of_run_time_state_is_cleared(new_postgres_store, database_url: str, what: Perishable):
    store = new_postgres_store()
    await stored_partner(store)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for index in range(4):
            connection.execute(AGED[what].encode(), (str(index), NOW + index * SECOND))
    assert await clear(store, what, NOW + 3 * SECOND, limit=2) == 2
    assert await clear(store, what, NOW + 3 * SECOND, limit=2) == 1
    assert await clear(store, what, NOW + 3 * SECOND, limit=2) == 0
    await store.close()


async def test_a_running_job_stays(new_postgres_store, database_url: str):
    store = new_postgres_store()
    await stored_partner(store)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("""INSERT INTO sync_jobs (partner_id, job_type, status, created_at)
                              SELECT partner_id, 'full_sync', 'running', '2020-01-01Z' FROM partners""")
    assert await clear(store, Perishable.SYNC_JOBS) == 0
    await store.close()


async def test_a_row_that_a_request_holds_is_passed_over(new_postgres_store, database_url: str):
    store = new_postgres_store()
    async with store.transaction() as transaction:
        for index in range(3):
            await transaction.replies.keep("t", "r", str(index), REPLY, NOW - SECOND)
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT 1 FROM idempotency_replies WHERE key = '1' FOR UPDATE")
        assert await clear(store, Perishable.REPLIES) == 2
    assert await clear(store, Perishable.REPLIES) == 1
    await store.close()


@pytest.mark.parametrize("what", Perishable)
async def test_each_batch_begins_at_the_oldest_of_an_index(new_postgres_store, database_url: str, what: Perishable):
    """No sort and no scan of the table, however many rows there are."""
    from shared_code.adapters.postgres_retention import statement

    await new_postgres_store().close()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
        rows = connection.execute(b"EXPLAIN " + statement(what).as_bytes(connection), (NOW, 1000)).fetchall()
    plan = "\n".join(row[0] for row in rows)
    chosen = plan[plan.index("LockRows") :]
    assert f"Index Scan using {EXPECTED[what]}" in chosen, plan
    assert "Sort" not in chosen, plan


EXPECTED = {
    Perishable.SESSIONS: "sessions_expire",
    Perishable.REPLIES: "idempotency_replies_expire",
    Perishable.RATE_LIMITS: "rate_limits_window",
    Perishable.OAUTH_LINKS: "oauth_links_expire",
    Perishable.OAUTH_STATES: "oauth_states_expire",
    Perishable.OAUTH_PROVIDERS: "partners_removed",
    Perishable.INBOUND_SECRETS: "inbound_secrets_expire",
    Perishable.INBOUND_RECORDS: "inbound_records_touched",
    Perishable.SYNC_RECORDS: "partners_removed",
    Perishable.OUTBOX: "outbox_done",
    Perishable.INBOX: "inbox_done",
    Perishable.EVENTS: "events_cleared",
    Perishable.REVIEWS: "reviews_resolved",
    Perishable.SYNC_JOBS: "sync_jobs_completed",
    Perishable.TIMER_RUNS: "timer_runs_started",
}


# ── The service ──────────────────────────────────────────────────────────────────────────────────

DAYS = Kept(
    payload_days=90,
    event_days=180,
    outbox_days=30,
    inbox_days=30,
    record_days=90,
    review_days=365,
    job_days=90,
    timer_run_days=30,
)


def test_the_table_has_every_kind_and_no_batch_over_a_thousand():
    rules = table(DAYS)
    assert {rule.what for rule in rules} >= set(Perishable)
    assert {rule.batch for rule in rules} == {BATCH, FEW}
    assert max(rule.batch for rule in rules) <= 1000


async def test_a_run_clears_batch_by_batch_and_counts(store: Store):
    async with store.transaction() as transaction:
        for index in range(25):
            await transaction.replies.keep("t", "r", str(index), REPLY, NOW - SECOND)
    asked: list[int] = []

    async def clear_ten(transaction, before) -> int:
        asked.append(await transaction.retention.clear(Perishable.REPLIES, before, 10))
        return asked[-1]

    rules = [Rule("replies", timedelta(), 10, clear_ten)]
    assert await RetentionService(store, lambda: NOW, rules).clear() == 25
    assert asked == [10, 10, 5]


async def test_a_run_ends_in_time_and_one_failure_does_not_keep_the_others(store: Store):
    calls: list[str] = []

    async def fails(transaction, before) -> int:
        raise errors.StoreUnavailable()

    async def endless(transaction, before) -> int:
        calls.append("endless")
        return 1

    rules = [Rule("bad", timedelta(), 1, fails), Rule("endless", timedelta(), 1, endless)]
    with pytest.raises(errors.StoreUnavailable):
        await RetentionService(store, lambda: NOW, rules, longest_run=0.5).clear()
    assert 1 <= len(calls) < 100
