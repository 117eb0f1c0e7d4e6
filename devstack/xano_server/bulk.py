"""`POST /{table}/bulk_upsert` and `/bulk_delete`: what an operator adds for syncs (infra/xano); one batch, one
transaction, all or nothing.

Not one of Xano's auto-made endpoints. Rows are found by (partner, external_id). A known row keeps the columns
that an item does not name (`db.bulk.patch`, facts section 3.7); of two items with one external_id the later
one counts. They announce no events: a sync must not answer itself. With a `fence`, a number that grows with each
worker of a sync, a batch below one that was here already is refused: its worker lost the job and does not know.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from devstack.xano_server import inputs
from devstack.xano_server.endpoints import Call, new_row
from devstack.xano_server.errors import bad_input, bad_request, missing
from devstack.xano_server.store import Row

MAX_ITEMS = 10_000


@dataclass(slots=True)
class Batch:
    """The batch as sorted so far: `known` is every row of it by external_id."""

    known: dict[str, Row]
    created: dict[str, Row] = field(default_factory=dict)
    updated: dict[str, Row] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


def bulk_upsert(call: Call) -> bytes:
    items = [_item(index, item) for index, item in enumerate(_items(call.body))]
    found = call.store.by_external_id(call.shelf, (item["external_id"] for item in items))
    batch = Batch({row["external_id"]: row for row in map(orjson.loads, found)})
    for item in items:
        _sort(call, batch, item)
    with call.store.transaction():
        _check_fence(call)
        call.store.change(call.shelf, list(batch.updated.values()))
        call.store.add(call.shelf, list(batch.created.values()))
    return orjson.dumps({outcome: batch.counts[outcome] for outcome in ("created", "updated", "unchanged")})


def bulk_delete(call: Call) -> bytes:
    """By external_id; those that are not there are gone already."""
    keys = call.body.get("external_ids")
    if keys is None:
        raise missing("external_ids")
    with call.store.transaction():
        _check_fence(call)
        deleted = call.store.remove_all(call.shelf, map(str, keys if isinstance(keys, list) else [keys]))
    return orjson.dumps({"deleted": deleted})


def _check_fence(call: Call) -> None:
    fence = call.body.get("fence")
    if isinstance(fence, int) and not call.store.pass_fence(call.shelf, fence):
        raise bad_request("stale_fence")


def _items(body: Row) -> list[Any]:
    """A single value becomes a list of one (facts section 3.1)."""
    if body.get("items") is None:
        raise missing("items")
    items = body["items"] if isinstance(body["items"], list) else [body["items"]]
    if len(items) > MAX_ITEMS:
        raise bad_input(f"Input does not meet maximum length requirement of {MAX_ITEMS} items", "items")
    return items


def _item(index: int, item: Any) -> Row:
    if not isinstance(item, dict):
        raise bad_input("Input is not an object.", f"items.{index}")
    external_id = item.get("external_id")
    if not isinstance(external_id, str | int) or isinstance(external_id, bool) or not str(external_id).strip():
        raise missing(f"items.{index}.external_id")
    return item | {"external_id": str(external_id).strip()}


def _sort(call: Call, batch: Batch, item: Row) -> None:
    """Each item is counted once, so the three counts add up to the length of the batch."""
    key, table = item["external_id"], call.shelf.table
    known = batch.known.get(key)
    if known is None:
        row = new_row(call, inputs.fresh(table, item, call.now_ms))
        _keep(batch, batch.created, "created", row)
        return
    row = known | inputs.present(table, item)
    if row == known:
        batch.counts["unchanged"] += 1
        return
    if table.touched and item.get(table.touched) is None:
        row[table.touched] = call.now_ms
    _keep(batch, batch.created if key in batch.created else batch.updated, "updated", row)


def _keep(batch: Batch, place: dict[str, Row], outcome: str, row: Row) -> None:
    batch.known[row["external_id"]] = place[row["external_id"]] = row
    batch.counts[outcome] += 1
