"""Query strings: pages, filters, switches (facts/svix.md §1)."""

import re
from datetime import datetime

from starlette.datastructures import QueryParams

from devstack.svix_server import clock
from devstack.svix_server.api.bodies import limited
from devstack.svix_server.attempt import AttemptFilter, Status
from devstack.svix_server.errors import ApiError, Flaw, bad_request, unprocessable
from devstack.svix_server.listing import Page, Window
from devstack.svix_server.message import MessageFilter

MAX_LIMIT = 250

_EVENT_TYPES = re.compile(r"event_types(\[\d*\])?")
_CODE_CLASSES = (0, 100, 200, 300, 400, 500)


def flag(query: QueryParams, name: str, default: bool) -> bool:
    text = query.get(name)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise _unreadable(name)
    return text == "true"


def page(query: QueryParams, prefix: str | None, *, ascending: bool = False) -> Page:
    """`prefix` is what an iterator must start with; None if it is a name."""
    limit = _integer(query, "limit")
    limit = 50 if limit is None else limit
    if limit > MAX_LIMIT:
        raise unprocessable(Flaw(("query", "limit"), f"Given limit must not exceed {MAX_LIMIT}"))
    given = query.get("iterator")
    iterator = None if given is None else _iterator(given.removeprefix("-"), prefix)
    previous = given is not None and given.startswith("-")
    order = _ascending(query, ascending)
    return Page(limit=limit, iterator=iterator, previous=previous, ascending=order)


def attempt_filter(query: QueryParams, endpoint_id: str | None = None) -> AttemptFilter:
    status, code_class = _integer(query, "status"), _integer(query, "status_code_class")
    if status is not None and status not in list(Status):
        raise _unreadable("status")
    if code_class is not None and code_class not in _CODE_CLASSES:
        raise _unreadable("status_code_class")
    return AttemptFilter(message=message_filter(query), status=status, code_class=code_class, endpoint_id=endpoint_id)


def message_filter(query: QueryParams) -> MessageFilter:
    return MessageFilter(
        window=Window(before=moment(query, "before"), after=moment(query, "after")),
        event_types=_event_types(query),
        channel=_limited(query.get("channel"), "channel"),
    )


def moment(query: QueryParams, name: str) -> int | None:
    """Microseconds; a time without an offset is refused."""
    text = query.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _unreadable(name) from None
    if at.tzinfo is None:
        raise _unreadable(name)
    return clock.micros(at)


def _integer(query: QueryParams, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _unreadable(name)
    return int(text)


def _ascending(query: QueryParams, default: bool) -> bool:
    order = query.get("order")
    if order is None:
        return default
    if order not in ("ascending", "descending"):
        raise _unreadable("order")
    return order == "ascending"


def _iterator(text: str, prefix: str | None) -> str:
    if prefix is None:
        return _limited(text, "iterator") or text
    if not text.startswith(prefix):
        raise unprocessable(Flaw(("query", "iterator"), "Invalid id. Expected different prefix"))
    return text


def _event_types(query: QueryParams) -> list[str] | None:
    """`event_types=a,b`, and repeated, with or without brackets."""
    given = [value for name, value in query.multi_items() if _EVENT_TYPES.fullmatch(name)]
    names = [name for value in given for name in value.split(",")]
    for name in names:
        _limited(name, "event_types")
    return names or None


def _limited(text: str | None, name: str) -> str | None:
    try:
        return None if text is None else limited(text)
    except ValueError as error:
        raise unprocessable(Flaw(("query", name), str(error))) from None


def _unreadable(name: str) -> ApiError:
    return bad_request("generic_error", f"Failed to deserialize query string: invalid value for `{name}`")
