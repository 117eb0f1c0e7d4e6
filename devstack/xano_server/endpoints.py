"""The endpoints of the group: Xano's auto-made CRUD, traps and all (facts section 2.3), and a bulk upsert."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
from starlette.datastructures import QueryParams

from devstack.xano_server import inputs
from devstack.xano_server.errors import bad_input, no_such_row
from devstack.xano_server.events import Events
from devstack.xano_server.store import Row, Shelf, Store

MAX_PER_PAGE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authorised request to one table."""

    store: Store
    events: Events
    shelf: Shelf
    raw_id: str
    query: QueryParams
    body: Row
    now_ms: int

    @property
    def row_id(self) -> int:
        """The path parameter `{<table>_id}`, `int filters=min:1`; the words for a non-number are a guess."""
        return _at_least_one(f"{self.shelf.table.name}_id", self.raw_id)

    def row(self) -> Row:
        found = self.store.get(self.shelf, self.row_id)
        if found is None:
            raise no_such_row()
        return orjson.loads(found)


def list_rows(call: Call) -> bytes:
    """A bare array; the envelope of facts section 1.6 when the caller asks for a page."""
    if "page" in call.query or "per_page" in call.query:
        return _page(call)
    return _array(call.store.all(call.shelf))


def _page(call: Call) -> bytes:
    page = _at_least_one("page", call.query.get("page", "1"))
    per_page = _at_least_one("per_page", call.query.get("per_page", "50"))
    if per_page > MAX_PER_PAGE:
        raise bad_input(f"Input does not meet maximum value requirement of {MAX_PER_PAGE}", "per_page")
    offset = (page - 1) * per_page
    total = call.store.count(call.shelf)
    rows = call.store.page(call.shelf, offset, per_page) if offset < total else []
    envelope = {
        "itemsReceived": len(rows),
        "curPage": page,
        "nextPage": page + 1 if offset + per_page < total else None,
        "prevPage": page - 1 if page > 1 else None,
        "offset": offset,
        "perPage": per_page,
        "itemsTotal": total,
        "pageTotal": -(-total // per_page),
        "items": orjson.Fragment(_array(rows)),
    }
    return orjson.dumps(envelope)


def _array(rows: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(rows) + b"]"


def _at_least_one(param: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise bad_input("Input is not a number.", param)
    if int(text) < 1:
        raise bad_input("Input does not meet minimum value requirement of 1", param)
    return int(text)


def get_row(call: Call) -> bytes:
    return orjson.dumps(call.row())


def create_row(call: Call) -> bytes:
    return _save(call, "created", new_row(call, inputs.fresh(call.shelf.table, call.body, call.now_ms)))


def patch_row(call: Call) -> bytes:
    """null and "" never arrive: see `inputs.partial`. A missing row being 404 is a guess."""
    changes = inputs.partial(call.shelf.table, call.body, call.now_ms)
    return _save(call, "changed", call.row() | changes)


def put_row(call: Call) -> bytes:
    """Omitted inputs are written as zero values: see `inputs.complete`. A missing row being 404 is a guess."""
    changes = inputs.complete(call.shelf.table, call.body, call.now_ms)
    return _save(call, "changed", call.row() | changes)


def delete_row(call: Call) -> bytes:
    """`null`, for a missing row too (facts section 7.4, item 2)."""
    with call.store.transaction():
        call.store.remove(call.shelf, call.row_id)
    return b"null"


def new_row(call: Call, values: Row) -> Row:
    return {"id": 0, "created_at": call.now_ms, "partner_id": call.shelf.partner_id, **values}


def _save(call: Call, action: str, row: Row) -> bytes:
    write = call.store.add if action == "created" else call.store.change
    with call.store.transaction():
        write(call.shelf, [row])
        noted = call.events.note(call.shelf, action, row)
    call.events.post(noted)
    return orjson.dumps(row)


ENDPOINTS: dict[tuple[str, str], Callable[[Call], bytes]] = {
    ("GET", "table"): list_rows,
    ("POST", "table"): create_row,
    ("GET", "row"): get_row,
    ("PATCH", "row"): patch_row,
    ("PUT", "row"): put_row,
    ("DELETE", "row"): delete_row,
}
