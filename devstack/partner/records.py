"""The seeded records. Each is made from its number on the fly, so a million of them cost no memory."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from devstack.serving import rfc3339

Record = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
PER_SECOND = 4  # several records share an updated_at, as they do in life: `updated_since` must be inclusive
STATUSES = ("new", "paid", "shipped", "cancelled")
LOCATIONS = ("Antwerp", "Bilbao", "Cork", "Dresden", "Espoo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """`key` is the field that a record cannot be without; `make(number, revision)` makes a seeded record."""

    name: str
    key: str
    make: Callable[[int, int], Record]


def updated_ms(number: int) -> int:
    return FIRST_MS + (number // PER_SECOND) * 1000


def first_updated_since(since_ms: int) -> int:
    """The lowest record number whose seeded `updated_at` is at or after `since_ms`."""
    seconds = -(-(since_ms - FIRST_MS) // 1000)
    return max(1, seconds * PER_SECOND)


def as_text(ms: int) -> str:
    return rfc3339(EPOCH + timedelta(milliseconds=ms))


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded up. In integers: floats would lose a millisecond now and then."""
    return -((EPOCH - moment) // timedelta(milliseconds=1))


def make_order(number: int, revision: int) -> Record:
    lines = [_line(number, place) for place in range(1 + number % 3)]
    cents = sum(line["quantity"] * round(line["unit_price"] * 100) for line in lines)
    return {
        "id": number,
        "number": f"ORD-{number:07d}",
        "status": STATUSES[(number + revision) % len(STATUSES)],
        "total": cents / 100,
        "currency": ("EUR", "USD", "GBP")[number % 3],
        "customer": f"Customer {number % 997}",
        "items": lines,
        **_times(number),
    }


def _line(number: int, place: int) -> Record:
    sku = (number * 7 + place * 13) % 1000 + 1
    return {"sku": f"SKU-{sku:07d}", "quantity": 1 + (number + place) % 5, "unit_price": (sku * 37 % 9900 + 99) / 100}


def make_stock(number: int, revision: int) -> Record:
    return {
        "id": number,
        "sku": f"SKU-{number:07d}",
        "name": f"Article {number}",
        "quantity": number * 11 % 500 + revision,
        "location": LOCATIONS[number % len(LOCATIONS)],
        **_times(number),
    }


def _times(number: int) -> Record:
    made = as_text(updated_ms(number))
    return {"created_at": made, "updated_at": made}


RESOURCES = {
    resource.name: resource
    for resource in (
        Resource(name="orders", key="number", make=make_order),
        Resource(name="inventory", key="sku", make=make_stock),
    )
}
