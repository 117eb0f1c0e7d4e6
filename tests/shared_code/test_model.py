"""The rules that need no I/O: moves between states, scopes, reach, and deliveries that only move forward."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_code import errors
from shared_code.model import (
    MOVES,
    SCOPE,
    ApiKey,
    Attempt,
    AuthMethod,
    Caller,
    Delivery,
    DeliveryStatus,
    Grant,
    Origin,
    Partner,
    PartnerMove,
    PartnerStatus,
    PartnerType,
    scope_held,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
MUCH_LATER = LATER + timedelta(minutes=2)


# ── Moves ────────────────────────────────────────────────────────────────────────────────────────

LEGAL = {
    ("pending", "activate"): "active",
    ("suspended", "activate"): "active",
    ("inactive", "activate"): "active",
    ("pending", "suspend"): "suspended",
    ("active", "suspend"): "suspended",
    ("pending", "deactivate"): "inactive",
    ("active", "deactivate"): "inactive",
    ("suspended", "deactivate"): "inactive",
}


def a_partner(status: PartnerStatus) -> Partner:
    return Partner(
        partner_id=uuid4(),
        name="Shop",
        type=PartnerType.VENDOR,
        status=status,
        auth_method=AuthMethod.BEARER,
        created_at=NOW,
        updated_at=NOW,
    )


@pytest.mark.parametrize(("status", "move"), list(product(PartnerStatus, PartnerMove)))
def test_a_partner_moves_as_the_table_says(status: PartnerStatus, move: PartnerMove) -> None:
    before = a_partner(status)
    expected = LEGAL.get((status.value, move.value))
    if expected:
        assert before.moved(move, LATER) == replace(before, status=PartnerStatus(expected), updated_at=LATER)
    else:
        with pytest.raises(errors.IllegalMove, match=status.value):
            before.moved(move, LATER)


@pytest.mark.parametrize("move", PartnerMove)
def test_a_removed_partner_never_moves_again(move: PartnerMove) -> None:
    removed = replace(a_partner(PartnerStatus.INACTIVE), deleted_at=NOW)
    with pytest.raises(errors.IllegalMove, match="deleted"):
        removed.moved(move, LATER)


def test_every_move_is_in_the_table() -> None:
    assert MOVES.keys() == set(PartnerMove)


# ── Scopes ───────────────────────────────────────────────────────────────────────────────────────

AREAS = st.sampled_from(["orders", "inventory", "events", "*"])
SCOPES = st.builds("{}:{}".format, st.sampled_from(["read", "write"]), AREAS)


@pytest.mark.parametrize(
    ("scope", "held", "answer"),
    [
        ("read:orders", ["read:orders"], True),
        ("read:orders", ["read:*"], True),
        ("read:orders", ["write:*"], False),
        ("read:*", ["read:orders"], False),
        ("write:orders", ["read:*", "write:inventory"], False),
        ("read:orders", [], False),
        ("read:orders", ["admin"], True),
        ("admin", ["read:*", "write:*"], False),
        ("admin", ["admin"], True),
        ("proxy:1", ["proxy:1"], True),
        ("proxy:1", ["proxy:2", "read:*", "write:*"], False),
        ("proxy:1", ["proxy:*"], False),
        ("proxy:1", ["admin"], True),
    ],
)
def test_a_scope_is_held_or_not(scope: str, held: Sequence[str], answer: bool) -> None:
    assert scope_held(scope, held) is answer


@given(SCOPES, st.lists(SCOPES), SCOPES)
def test_holding_more_never_takes_away(scope: str, held: list[str], more: str) -> None:
    assert not scope_held(scope, held) or scope_held(scope, [*held, more])


@given(SCOPES, st.lists(SCOPES))
def test_nothing_short_of_admin_ever_holds_admin(scope: str, held: list[str]) -> None:
    assert not scope_held("admin", [scope, *held])


@pytest.mark.parametrize("text", ["read:orders", "write:*", "read:a-b_1", "admin", f"proxy:{UUID(int=7)}"])
def test_what_a_scope_looks_like(text: str) -> None:
    assert SCOPE.fullmatch(text)


@pytest.mark.parametrize(
    "text",
    ["", "read", "read:", ":orders", "read:Orders", "read:1", "read:**", "read:orders\n", "delete:x", "*", "Admin"],
)
def test_what_no_scope_looks_like(text: str) -> None:
    assert not SCOPE.fullmatch(text)


# ── Reach ────────────────────────────────────────────────────────────────────────────────────────

MINE, THEIRS = uuid4(), uuid4()


def a_caller(partner_id: UUID | None, *scopes: str) -> Caller:
    grant = Grant(key_id="k", partner_id=partner_id, partner_status=None, scopes=scopes, limit_per_minute=1)
    return Caller(grant=grant, origin=Origin(request_id="r"))


PARTNER, ADMIN, HOUSE = a_caller(MINE, "read:*", "write:*"), a_caller(None, "admin"), a_caller(None, "read:*")


def test_a_partner_reaches_itself_and_an_admin_everyone() -> None:
    assert PARTNER.reach(MINE) == MINE
    assert ADMIN.reach(MINE) == MINE
    for caller, partner_id in ((PARTNER, THEIRS), (HOUSE, MINE)):
        with pytest.raises(errors.NotFound):
            caller.reach(partner_id)


def test_a_partners_key_is_no_admin_whatever_its_scopes() -> None:
    sly = a_caller(MINE, "admin")
    assert not sly.is_admin
    with pytest.raises(errors.NotFound):
        sly.reach(THEIRS)


def test_what_a_caller_may_list() -> None:
    assert PARTNER.own() == MINE
    assert ADMIN.own() is None
    with pytest.raises(errors.AdminOnly):
        HOUSE.own()


def test_whom_an_action_is_for() -> None:
    assert PARTNER.target(None) == PARTNER.target(MINE) == ADMIN.target(MINE) == MINE
    with pytest.raises(errors.NotFound):
        PARTNER.target(THEIRS)
    with pytest.raises(errors.InvalidBody):
        ADMIN.target(None)


@pytest.mark.parametrize(
    ("change", "dead"),
    [
        ({}, False),
        ({"revoked_at": NOW}, True),
        ({"expires_at": NOW}, True),
        ({"expires_at": LATER}, False),
        ({"expires_at": LATER, "revoked_at": LATER}, True),
    ],
)
def test_a_key_is_dead_once_revoked_or_expired(change: dict[str, datetime], dead: bool) -> None:
    key = ApiKey(key_id="k", key_hash="h", partner_id=None, name="n", scopes=("read:*",), created_at=NOW)
    assert replace(key, **change).dead(NOW) is dead


# ── Deliveries ───────────────────────────────────────────────────────────────────────────────────

RANK = {DeliveryStatus.PENDING: 0, DeliveryStatus.RETRYING: 1, DeliveryStatus.FAILED: 2, DeliveryStatus.DELIVERED: 3}
OPENED = Delivery(
    id=uuid4(),
    partner_id=MINE,
    event_id="evt_1",
    event_type="order.created",
    endpoint_id="ep_1",
    status=DeliveryStatus.PENDING,
    max_attempts=4,
    created_at=NOW,
)
CODES = st.sampled_from([None, 200, 204, 299, 300, 404, 500])


def attempts_of(codes: Sequence[int | None]) -> list[Attempt]:
    return [
        Attempt(
            attempt_id=f"atmpt_{number}",
            endpoint_id="ep_1",
            at=NOW + timedelta(seconds=number),
            response_code=code,
            response_body="",
            duration_ms=1,
            error=None,
        )
        for number, code in enumerate(codes)
    ]


@given(st.lists(st.tuples(st.lists(CODES, max_size=5), st.booleans(), st.booleans()), max_size=8))
def test_a_delivery_only_moves_forward(told: list[tuple[list[int | None], bool, bool]]) -> None:
    """Whatever is told, in whatever order: attempts are never forgotten, and a delivered one stays delivered."""
    delivery = OPENED
    for codes, will_retry, late in told:
        learned = delivery.learned(attempts_of(codes), LATER if will_retry else None, MUCH_LATER if late else NOW)
        assert learned.attempt_count >= delivery.attempt_count
        if delivery.status is DeliveryStatus.DELIVERED:
            assert learned == replace(delivery, attempt_count=learned.attempt_count)
        assert (learned.next_retry_at is not None) == (learned.status is DeliveryStatus.RETRYING)
        assert (learned.delivered_at is not None) == (learned.status is DeliveryStatus.DELIVERED)
        assert learned.status is not DeliveryStatus.PENDING or learned == delivery
        delivery = learned


@given(st.lists(CODES, max_size=5), st.booleans(), st.sampled_from([NOW, MUCH_LATER]))
def test_the_same_news_twice_changes_nothing(codes: list[int | None], will_retry: bool, now: datetime) -> None:
    attempts, next_retry_at = attempts_of(codes), LATER if will_retry else None
    once = OPENED.learned(attempts, next_retry_at, now)
    assert once.learned(attempts, next_retry_at, now) == once


@pytest.mark.parametrize(
    ("codes", "next_retry_at", "status", "code"),
    [
        ([], None, DeliveryStatus.PENDING, None),
        ([500], LATER, DeliveryStatus.RETRYING, 500),
        ([500, None], LATER, DeliveryStatus.RETRYING, None),
        ([500, 503], None, DeliveryStatus.FAILED, 503),
        ([500, 204], None, DeliveryStatus.DELIVERED, 204),
        ([204, 500], LATER, DeliveryStatus.DELIVERED, 204),
        ([302], None, DeliveryStatus.FAILED, 302),
    ],
)
def test_what_a_delivery_learns_from_its_attempts(
    codes: list[int | None], next_retry_at: datetime | None, status: DeliveryStatus, code: int | None
) -> None:
    learned = OPENED.learned(attempts_of(codes), next_retry_at, NOW)
    assert (learned.status, learned.response_code, learned.attempt_count) == (status, code, len(codes))


def test_a_failed_delivery_that_is_tried_again_may_still_arrive() -> None:
    failed = OPENED.learned(attempts_of([500]), None, NOW)
    assert failed.learned(attempts_of([500, 200]), None, NOW).status is DeliveryStatus.DELIVERED


@pytest.mark.parametrize(
    ("next_retry_at", "now", "status"),
    [
        (None, NOW, DeliveryStatus.RETRYING),
        (None, LATER, DeliveryStatus.RETRYING),
        (LATER, MUCH_LATER, DeliveryStatus.RETRYING),
        (None, MUCH_LATER, DeliveryStatus.FAILED),
        (LATER, LATER + timedelta(minutes=11), DeliveryStatus.FAILED),
    ],
)
def test_a_retry_that_is_overdue_and_that_nobody_plans_any_more_will_not_come(
    next_retry_at: datetime | None, now: datetime, status: DeliveryStatus
) -> None:
    """Also what saves a delivery whose last attempt was made between the two questions to the webhook service."""
    retrying = OPENED.learned(attempts_of([500]), LATER, NOW)
    assert retrying.learned(attempts_of([500]), next_retry_at, now).status is status


def test_final_states_are_final() -> None:
    assert {status for status in DeliveryStatus if status.final} == {"delivered", "failed", "skipped"}
