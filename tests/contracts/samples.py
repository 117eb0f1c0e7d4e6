"""Records to store, whole and valid; name what matters to the test."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as any_

from shared_code.model import (
    ApiKey,
    Attempt,
    AuditEntry,
    AuthMethod,
    Endpoint,
    Event,
    EventType,
    Partner,
    PartnerStatus,
    PartnerType,
    Review,
    ReviewKind,
    User,
)

NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def new_partner(**changes: Any) -> Partner:
    partner = Partner(
        partner_id=uuid4(),
        name="Corner Shop",
        type=PartnerType.VENDOR,
        status=PartnerStatus.ACTIVE,
        auth_method=AuthMethod.BEARER,
        api_endpoint="https://shop.example/api",
        credentials_encrypted="v1.k1.sealed",
        rate_limit_per_minute=250,
        metadata={"tier": "gold", "tags": ["a", "b"], "nested": {"n": 1.5, "none": None}},
        created_at=NOW,
        updated_at=NOW + SECOND,
        created_by="pk_live_house",
    )
    return replace(partner, **changes)


def new_key(partner_id: UUID | None, **changes: Any) -> ApiKey:
    key = ApiKey(
        key_id=f"pk_live_{uuid4().hex[:12]}",
        key_hash="$2b$10$hash",
        partner_id=partner_id,
        name="first key",
        scopes=("read:*", "write:orders"),
        rate_limit_per_minute=40,
        expires_at=NOW + timedelta(days=30),
        created_at=NOW,
        created_by="pk_live_house",
    )
    return replace(key, **changes)


def new_endpoint(partner_id: UUID, **changes: Any) -> Endpoint:
    endpoint = Endpoint(
        endpoint_id=f"ep_{uuid4().hex}",
        partner_id=partner_id,
        url="https://shop.example/webhooks",
        events=("order.created", "inventory.updated"),
        description="orders and stock",
        secret_encrypted="v1.k1.sealed",
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(endpoint, **changes)


def new_event_type(name: str = "order.created", **changes: Any) -> EventType:
    event_type = EventType(
        name=name,
        description="An order was placed.",
        schema={"type": "object", "required": ["order_id"]},
        example={"order_id": "ord_1", "total": 42.5},
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(event_type, **changes)


def new_event(partner_id: UUID, **changes: Any) -> Event:
    event = Event(
        event_id=f"evt_{uuid4().hex}",
        partner_id=partner_id,
        event_type="order.created",
        payload={"order_id": "ord_1001", "lines": [{"sku": "PINK-1", "n": 2}], "note": "Grüße ✓"},
        request_id="req-1",
        created_at=NOW,
    )
    return replace(event, **changes)


def new_entry(**changes: Any) -> AuditEntry:
    entry = AuditEntry(
        log_id=uuid4(),
        event_type="partner.connected",
        message="Partner Corner Shop was connected.",
        actor="pk_live_house",
        target="partner",
        partner_id=uuid4(),
        metadata={"changes": {"name": ["a", "b"]}},
        request_id="req-1",
        ip_address="203.0.113.7",
        user_agent="curl/8",
        created_at=NOW,
    )
    return replace(entry, **changes)


def new_review(**changes: Any) -> Review:
    review = Review(
        review_id=uuid4(),
        kind=ReviewKind.DELIVERY_EXHAUSTED,
        subject=uuid4().hex,
        partner_id=None,
        reason="The last attempt failed.",
        created_at=NOW,
    )
    return replace(review, **changes)


def new_user(**changes: Any) -> User:
    user = User(email=f"{uuid4().hex}@example.com", password_hash="$2b$12$hash", role="admin", created_at=NOW)
    return replace(user, **changes)


def new_attempt(endpoint_id: str, at: datetime, code: int | None = 500, **changes: Any) -> Attempt:
    attempt = Attempt(
        attempt_id=f"atmpt_{uuid4().hex}",
        endpoint_id=endpoint_id,
        at=at,
        response_code=code,
        response_body="what they said",
        duration_ms=12,
        error=None,
    )
    return replace(attempt, **changes)


TEXT = any_.text(any_.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NUMBERS = any_.integers(-(2**53), 2**53) | any_.floats(allow_nan=False, allow_infinity=False)
JSON = any_.recursive(
    any_.none() | any_.booleans() | NUMBERS | TEXT,
    lambda inner: any_.lists(inner, max_size=4) | any_.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
JSON_OBJECTS = any_.dictionaries(TEXT, JSON, max_size=4)
