"""What an event from a partner says, and what is written of it at the business backend."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import orjson

from shared_code.model import InboxItem, RecordName
from shared_code.ports import Forward

LONGEST_ID = 255
DEEPEST = 100
"""JSON can be read deeper than it can be written."""


class Unroutable(Exception):
    """This event will never find its way; a person must look. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What an inbound body says, whichever names it uses for it."""

    event_type: str
    data: Mapping[str, Any]
    happened_at: datetime | None
    """When the record became so, if the partner tells."""


def read(body: bytes) -> Message:
    """`{"type": ..., "data": {...}}`, or `event_type` and `payload`; anything else is unroutable."""
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unroutable("The body is not JSON.") from error
    if not isinstance(told, dict):
        raise Unroutable("The body is not an object.")
    fields = cast(Mapping[str, Any], told)
    event_type = fields.get("type") or fields.get("event_type")
    data = fields.get("data", fields.get("payload"))
    if not isinstance(event_type, str) or not isinstance(data, dict):
        raise Unroutable("The body has no `type` and `data`.")
    record = cast(Mapping[str, Any], data)
    if deeper(record, DEEPEST):
        raise Unroutable(f"The body is nested deeper than {DEEPEST} levels.")
    told = (record.get("updated_at"), fields.get("timestamp"), fields.get("occurred_at"), fields.get("created_at"))
    happened_at = next((at for at in map(moment, told) if at), None)
    return Message(event_type=event_type, data=record, happened_at=happened_at)


def deeper(value: object, levels: int) -> bool:
    within: list[object] = [value]
    for _ in range(levels):
        within = [inner for each in within for inner in contents(each)]
    return bool(within)


def contents(value: object) -> Collection[object]:
    if isinstance(value, dict):
        return cast(Mapping[str, object], value).values()
    return cast(list[object], value) if isinstance(value, list) else ()


def moment(told: object) -> datetime | None:
    """RFC 3339 with its zone; anything else tells no time."""
    try:
        at = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None


def resource_of(event_type: str, resources: frozenset[str]) -> str | None:
    """`order.created` is for `orders`, `inventory.updated` for `inventory`."""
    noun = event_type.partition(".")[0]
    return next((name for name in (noun, f"{noun}s") if name in resources), None)


def external_id(item: InboxItem, message: Message) -> str:
    """The record's own id at the partner, else the message's."""
    found = str(message.data.get("external_id") or message.data.get("id") or item.message_id)
    if len(found) > LONGEST_ID:
        raise Unroutable(f"The record's id is longer than {LONGEST_ID} characters.")
    return found


def upsert(item: InboxItem, record: RecordName, message: Message) -> Forward:
    """By the record's own id: written twice, it is there once."""
    _, resource, its_id = record
    row = {**message.data, "external_id": its_id}
    row.pop("id", None)
    return Forward(
        method="POST",
        path=f"{resource}/bulk_upsert",
        headers={
            "Content-Type": "application/json",
            "X-Partner-Id": str(item.partner_id),
            "X-Request-Id": item.request_id or f"inbox-{item.id}",
            "Idempotency-Key": f"inbox-{item.id}",
        },
        body=orjson.dumps({"items": [row]}),
    )
