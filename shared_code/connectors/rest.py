"""Any REST API that lists its records as JSON, page by page: the one connector that needs configuration alone.

Pages by number, by offset, by cursor or by RFC 8288 links; changes by a query parameter; conditional first pages.
What the partner says of itself (how many records, which page is next) is trusted before what was asked for.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import cast
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import orjson

from shared_code.model import ErrorClass, Json, Paging, PagingStyle
from shared_code.ports import Fetched, Forward, Get, PageAsk, Returned, SyncFailed, SyncWait

WAIT_SECONDS = 30
"""After a 429 that does not say how long."""
LONGEST_WAIT = 86_400
LINK = re.compile(r"<([^<>]*)>([^<>]*)")
BEYOND_COUNTING = 2**53
MOST_RECORDS = 10_000
"""Of one page; more than that is no page."""


@dataclass(frozen=True, slots=True)
class RestConnector:
    now: Callable[[], datetime]

    async def fetch(self, get: Get, ask: PageAsk) -> Fetched:
        path, query = request_of(ask)
        conditional = validators_for(ask, query)
        returned = await get(Forward(method="GET", path=path, query=query, headers=headers(conditional)))
        if returned.status == 304 and conditional:
            return Fetched(records=(), next=None, clock=clock_of(returned), validators=ask.validators, unchanged=True)
        self._check(returned)
        answer = read(returned.body)
        records = records_in(answer, ask.reading.items)
        total = whole(at(answer, ask.reading.total))
        following = next_of(ask, answer, returned, len(records), total)
        only = ask.position is None and following is None
        return Fetched(
            records=records,
            next=following,
            total=total,
            clock=clock_of(returned),
            validators=validators_of(returned, query) if only else {},
        )

    def _check(self, returned: Returned) -> None:
        status = returned.status
        if 200 <= status < 300:
            return
        wait = self._wait(returned.headers.get("retry-after"))
        if status == 429:
            raise SyncWait(WAIT_SECONDS if wait is None else wait)
        raise SyncFailed(class_of(status), f"The partner's API answers {status}.", wait)

    def _wait(self, text: str | None) -> int | None:
        """RFC 9110: seconds, or the time when to come back."""
        if text is None:
            return None
        if text.strip().isdecimal():
            return min(int(text[:9]), LONGEST_WAIT)
        moment = moment_in(text)
        seconds = (moment - self.now()).total_seconds() if moment else None
        return None if seconds is None else min(max(0, round(seconds + 0.5)), LONGEST_WAIT)


def class_of(status: int) -> ErrorClass:
    if status in (401, 403, 407):
        return ErrorClass.AUTH
    if status in (408, 425) or status >= 500:
        return ErrorClass.TRANSIENT
    return ErrorClass.CONFIG


def request_of(ask: PageAsk) -> tuple[str, str]:
    reading, position = ask.reading, ask.position
    if position and "path" in position:
        return str(position["path"]), str(position["query"])
    asked: dict[str, object] = {**reading.query, **page_parameters(reading.paging, position)}
    if ask.since is not None and reading.cursor:
        asked[reading.cursor.param] = ask.since
    return reading.path.strip("/"), urlencode(asked)


def page_parameters(paging: Paging, position: Json | None) -> Mapping[str, object]:
    size = {paging.size_param: paging.size} if paging.size_param else {}
    match paging.style:
        case PagingStyle.PAGE:
            return {paging.param: (position or {}).get("page", 1), **size}
        case PagingStyle.OFFSET:
            return {paging.param: (position or {}).get("offset", 0), **size}
        case PagingStyle.CURSOR:
            return size | ({paging.param: position["cursor"]} if position else {})
        case PagingStyle.LINK:
            return size
        case PagingStyle.NONE:
            return {}


def next_of(ask: PageAsk, answer: object, returned: Returned, found: int, total: int | None) -> Json | None:
    """Where the next page is; None: that was all."""
    paging, position = ask.reading.paging, ask.position or {}
    match paging.style:
        case PagingStyle.CURSOR:
            return next_cursor(at(answer, paging.next), position)
        case PagingStyle.LINK:
            return next_link(returned.headers.get("link", ""), ask)
        case PagingStyle.NONE:
            return None
        case _:
            read = int(cast(int, position.get("offset", 0))) + found
            if found == 0 or (total is not None and read >= total):
                return None
            return {"offset": read, "page": int(cast(int, position.get("page", 1))) + 1}


def next_cursor(cursor: object, position: Json) -> Json | None:
    if cursor in (None, "", False):
        return None
    if not isinstance(cursor, str | int):
        raise unusable("The next cursor is neither text nor a number.")
    if isinstance(cursor, str) and not cursor.isprintable():
        raise unusable("The next cursor has a character that cannot be sent.")
    if cursor == position.get("cursor"):
        raise unusable("The partner's API gives the same cursor twice; that would never end.")
    return {"cursor": cursor}


def next_link(header: str, ask: PageAsk) -> Json | None:
    """RFC 8288. It must stay below the partner's own address: the host is pinned."""
    target = link_with(header, "next")
    if target is None:
        return None
    base = urlsplit(ask.base)
    below = base.path.rstrip("/") + "/"
    link = urlsplit(urljoin(f"{base.scheme}://{base.netloc}{below}{ask.reading.path.strip('/')}", target))
    if (link.scheme, link.netloc) != (base.scheme, base.netloc) or not link.path.startswith(below):
        raise unusable("The link to the next page leads away from the partner's api_endpoint.")
    query = urlencode([pair for pair in parse_qsl(link.query, keep_blank_values=True) if pair[0] not in ask.hidden])
    following = {"path": link.path.removeprefix(below), "query": query}
    if ask.position and {name: ask.position.get(name) for name in following} == following:
        raise unusable("The partner's API links a page to itself; that would never end.")
    return following


def link_with(header: str, relation: str) -> str | None:
    for target, parameters in LINK.findall(header):
        words = re.split(r"[;,]", parameters.replace('"', "").lower())
        if f"rel={relation}" in (word.replace(" ", "") for word in words):
            return target.strip()
    return None


def headers(validators: Mapping[str, str]) -> Mapping[str, str]:
    named = {"If-None-Match": validators.get("etag", ""), "If-Modified-Since": validators.get("last_modified", "")}
    return {"Accept": "application/json", **{name: value for name, value in named.items() if value}}


def validators_for(ask: PageAsk, query: str) -> Mapping[str, str]:
    """Those of an earlier answer, if it was the answer to this very question."""
    same = ask.position is None and ask.validators.get("query") == canonical(query)
    return ask.validators if same else {}


def validators_of(returned: Returned, query: str) -> Mapping[str, str]:
    found = {"etag": returned.headers.get("etag", ""), "last_modified": returned.headers.get("last-modified", "")}
    kept = {name: value for name, value in found.items() if value}
    return {"query": canonical(query), **kept} if kept else {}


def canonical(query: str) -> str:
    return urlencode(sorted(parse_qsl(query, keep_blank_values=True)))


def clock_of(returned: Returned) -> datetime | None:
    return moment_in(returned.headers.get("date", ""))


def moment_in(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return read_loosely(body)


def read_loosely(body: bytes) -> object:
    """Half a character or a NaN is not JSON; but the records beside it are, and it must not cost those."""
    try:
        return json.loads(body, parse_constant=Decimal)
    except (ValueError, RecursionError) as error:
        raise unusable("The partner's API does not answer with JSON.") from error


def records_in(answer: object, items: str) -> list[object]:
    found = at(answer, items) if items else answer
    if not isinstance(found, list):
        where = f"has no list at `{items}`" if items else "is not a list"
        raise unusable(f"The answer of the partner's API {where}.")
    records = cast(list[object], found)
    if len(records) > MOST_RECORDS:
        raise unusable(f"A page of the partner's API has more than {MOST_RECORDS} records.")
    return records


def at(value: object, path: str) -> object:
    """The member at a path with dots; None if there is none."""
    for name in path.split(".") if path else ():
        if not isinstance(value, dict):
            return None
        value = cast(dict[str, object], value).get(name)
    return value if path else None


def whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < BEYOND_COUNTING else None


def unusable(message: str) -> SyncFailed:
    return SyncFailed(ErrorClass.CONFIG, message)
