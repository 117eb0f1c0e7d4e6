"""Four ways to page, as partners have them: by page, by RFC 8288 links, by offset, by cursor.

`page` and `per_page` (or nothing): a page, with Link headers. `offset`: an offset and a `limit`. `cursor`, or
`limit` alone: a cursor, which stays true while records come and go; the first page has an empty `cursor`.
"""

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.datastructures import URL, QueryParams
from starlette.exceptions import HTTPException

from devstack.partner.catalog import Collection
from devstack.partner.records import milliseconds
from devstack.partner.view import View

DEFAULT_LIMIT, MAX_LIMIT = 50, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which records to show, and what to say around them."""

    ids: list[int]
    about: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def page_of(collection: Collection, url: URL, query: QueryParams) -> Page:
    ways = [way for way in ("page", "offset", "cursor") if way in query]
    if len(ways) > 1:
        raise HTTPException(400, f"Page by one of {', '.join(ways)}, not by several.")
    since_ms = _since(query)
    if "offset" in query:
        return _by_offset(collection.view(since_ms), query)
    if "cursor" in query or ("limit" in query and "page" not in query):
        return _by_cursor(collection, since_ms, query)
    return _by_page(collection.view(since_ms), url, query)


def _since(query: QueryParams) -> int | None:
    """`updated_since` is RFC 3339 and inclusive; without a zone it is read as UTC."""
    text = query.get("updated_since")
    if text is None:
        return None
    try:
        # A plus sign that nobody escaped arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as problem:
        raise HTTPException(400, "updated_since is not an RFC 3339 time.") from problem
    return milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _number(query: QueryParams, name: str, default: int, lowest: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and int(text) >= lowest):
        raise HTTPException(400, f"{name} is not a whole number of at least {lowest}.")
    return int(text)


def _limit(query: QueryParams, name: str) -> int:
    """More than the highest is cut down to it, as most APIs do: trust the answer, not the question."""
    return min(MAX_LIMIT, _number(query, name, DEFAULT_LIMIT, 1))


def _by_offset(view: View, query: QueryParams) -> Page:
    offset, limit = _number(query, "offset", 0, 0), _limit(query, "limit")
    about = {"offset": offset, "limit": limit, "total": len(view)}
    return Page(ids=view.ids(offset, offset + limit), about=about)


def _by_cursor(collection: Collection, since_ms: int | None, query: QueryParams) -> Page:
    limit = _limit(query, "limit")
    after, since_ms = _opened(query.get("cursor", ""), since_ms)
    view = collection.view(since_ms)
    start = view.place_after(after)
    ids = view.ids(start, start + limit)
    more = start + limit < len(view)
    cursor = _sealed(ids[-1], since_ms) if more else None
    return Page(ids=ids, about={"limit": limit, "total": len(view), "has_more": more, "next_cursor": cursor})


def _sealed(after: int, since_ms: int | None) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([after, since_ms])).decode().rstrip("=")


def _opened(cursor: str, since_ms: int | None) -> tuple[int, int | None]:
    """A cursor carries the `updated_since` of its first page; another one beside it makes no sense."""
    if not cursor:
        return 0, since_ms
    try:
        after, since = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if type(after) is not int or type(since) not in (int, type(None)) or since_ms not in (None, since):
            raise ValueError
    except (ValueError, TypeError) as problem:
        raise HTTPException(400, "The cursor is not one of ours, or not for this list.") from problem
    return after, since


def _by_page(view: View, url: URL, query: QueryParams) -> Page:
    page, per_page = _number(query, "page", 1, 1), _limit(query, "per_page")
    pages = -(-len(view) // per_page)
    start = (page - 1) * per_page
    return Page(
        ids=view.ids(start, start + per_page),
        about={"page": page, "per_page": per_page, "total": len(view), "total_pages": pages},
        headers={"Link": _links(url, page, per_page, max(1, pages)), "X-Total-Count": str(len(view))},
    )


def _links(url: URL, page: int, per_page: int, last: int) -> str:
    """RFC 8288, absolute. A key that came in the query is left out: links get logged."""
    pages = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
    clean = url.remove_query_params("api_key")
    return ", ".join(
        f'<{clean.include_query_params(page=number, per_page=per_page)}>; rel="{relation}"'
        for relation, number in pages.items()
        if 1 <= number <= last
    )
