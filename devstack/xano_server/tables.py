"""The tables of the business group, said in Xano's column types (facts section 3.1)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    TEXT = "text"
    INT = "int"
    DECIMAL = "decimal"
    ENUM = "enum"
    JSON = "json"
    TIMESTAMP = "timestamp"


ZEROES: dict[Kind, Any] = {Kind.TEXT: "", Kind.INT: 0, Kind.DECIMAL: 0, Kind.ENUM: "", Kind.JSON: None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    kind: Kind
    required: bool = False
    nullable: bool = False
    values: tuple[str, ...] = ()
    default: Any = None

    @property
    def omitted(self) -> Any:
        """What an omitted input is written as: default, null, or the zero value (facts sections 2.3, 3.2)."""
        if self.default is not None or self.nullable:
            return self.default
        return ZEROES[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table. `natural_key` and `external_id` are each unique per partner (facts section 3.3).

    `touched` names the timestamp column that every write sets, unless the caller gives a value.
    `events` says which event a write announces (facts section 7.4, item 12).
    """

    name: str
    natural_key: str
    columns: tuple[Column, ...]
    touched: str | None = None
    events: dict[str, str]


STATUSES = ("new", "pending", "paid", "processing", "shipped", "delivered", "completed", "cancelled", "refunded")

ORDERS = Table(
    name="orders",
    natural_key="number",
    columns=(
        Column(name="external_id", kind=Kind.TEXT, nullable=True),
        Column(name="number", kind=Kind.TEXT, required=True),
        Column(name="status", kind=Kind.ENUM, values=STATUSES, default="new"),
        Column(name="total", kind=Kind.DECIMAL),
        Column(name="currency", kind=Kind.TEXT),
        Column(name="items", kind=Kind.JSON, nullable=True),
    ),
    events={"created": "order.created"},
)

INVENTORY = Table(
    name="inventory",
    natural_key="sku",
    columns=(
        Column(name="external_id", kind=Kind.TEXT, nullable=True),
        Column(name="sku", kind=Kind.TEXT, required=True),
        Column(name="quantity", kind=Kind.INT),
        Column(name="location", kind=Kind.TEXT, nullable=True),
        Column(name="updated_at", kind=Kind.TIMESTAMP, nullable=True),
    ),
    touched="updated_at",
    events={"created": "inventory.updated", "changed": "inventory.updated"},
)

TABLES = {table.name: table for table in (ORDERS, INVENTORY)}
