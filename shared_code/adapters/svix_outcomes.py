"""What Svix knows of attempts: of one event everywhere, or of many events at one endpoint."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypedDict

from svix.api import (
    MessageAttemptAsync,
    MessageAttemptListAttemptedDestinationsOptions,
    MessageAttemptListAttemptedMessagesOptions,
    MessageAttemptListByEndpointOptions,
    MessageAttemptListByMsgOptions,
)
from svix.models import MessageAttemptOut

from shared_code.adapters.svix_errors import Missing, translated
from shared_code.model import Attempt
from shared_code.ports import Outcome

PAGE = 250
MOST_PAGES = 8
ONE_DAY = timedelta(days=1)
ANSWER_BYTES = 2048


@dataclass(frozen=True, slots=True)
class SvixOutcomes:
    client: MessageAttemptAsync

    async def of_event(self, app: str, event_id: str) -> Sequence[Outcome]:
        """A deleted endpoint has lost its uid there; its outcome goes by Svix's own id for it."""
        try:
            with translated():
                places = await self.client.list_attempted_destinations(
                    app, event_id, MessageAttemptListAttemptedDestinationsOptions(limit=PAGE)
                )
                tries = await self.client.list_by_msg(
                    app, event_id, MessageAttemptListByMsgOptions(limit=PAGE, with_content=True)
                )
        except Missing:
            return ()
        oldest_first = sorted(tries.data, key=lambda attempt: attempt.timestamp)
        return [
            Outcome(
                endpoint_id=own_id(place.uid) or place.id,
                attempts=[to_attempt(a, own_id(place.uid)) for a in oldest_first if a.endpoint_id == place.id],
                next_retry_at=place.next_attempt,
            )
            for place in places.data
        ]

    async def at_endpoint(
        self, app: str, endpoint_id: str, since: datetime, event_ids: Collection[str]
    ) -> Mapping[str, Outcome]:
        """A few questions for a thousand events: the newest, each with all of its attempts."""
        uid, wanted = endpoint_uid(endpoint_id), set[str | None](event_ids)
        window: Window = {"limit": PAGE, "after": since, "before": since + ONE_DAY}
        try:
            messages, _ = await all_pages(
                lambda at: self.client.list_attempted_messages(
                    app, uid, MessageAttemptListAttemptedMessagesOptions(iterator=at, **window)
                )
            )
            tries, cut = await all_pages(
                lambda at: self.client.list_by_endpoint(
                    app, uid, MessageAttemptListByEndpointOptions(iterator=at, with_content=True, **window)
                )
            )
        except Missing:
            return {}
        whole_since = min((each.timestamp for each in tries), default=since) if cut else since
        made: dict[str, list[MessageAttemptOut]] = {}
        for each in sorted(tries, key=lambda attempt: attempt.timestamp):
            made.setdefault(each.msg_id, []).append(each)
        return {
            message.event_id or "": Outcome(
                endpoint_id=endpoint_id,
                attempts=[to_attempt(each, endpoint_id) for each in made[message.id]],
                next_retry_at=message.next_attempt,
            )
            for message in messages
            if message.event_id in wanted and message.id in made and message.timestamp >= whole_since
        }


class Window(TypedDict):
    limit: int
    after: datetime
    before: datetime


class Paged[Item](Protocol):
    data: list[Item]
    iterator: str | None
    done: bool


async def all_pages[Item](ask: Callable[[str | None], Awaitable[Paged[Item]]]) -> tuple[list[Item], bool]:
    """What is on the first pages, newest first, and whether there were more."""
    found: list[Item] = []
    at: str | None = None
    for _ in range(MOST_PAGES):
        with translated():
            page = await ask(at)
        found += page.data
        at = page.iterator
        if page.done or not at:
            return found, False
    return found, True


def endpoint_uid(endpoint_id: str) -> str:
    """Svix keeps the prefix `ep_` for ids of its own."""
    return f"ps_{endpoint_id}"


def own_id(uid: str | None) -> str:
    return (uid or "").removeprefix("ps_")


def to_attempt(attempt: MessageAttemptOut, endpoint_id: str) -> Attempt:
    answered = attempt.response_status_code > 0
    return Attempt(
        attempt_id=attempt.id,
        endpoint_id=endpoint_id,
        at=attempt.timestamp,
        response_code=attempt.response_status_code if answered else None,
        response_body=cut(attempt.response) if answered else "",
        duration_ms=attempt.response_duration_ms,
        error=failure(attempt),
    )


def cut(text: str) -> str:
    """The first ANSWER_BYTES of it in UTF-8, whole characters only, and none that cannot be stored."""
    return text.encode(errors="replace")[:ANSWER_BYTES].decode(errors="ignore").replace("\x00", "")


def failure(attempt: MessageAttemptOut) -> str | None:
    """A fixed word, as the service's own text can tell of its inside (facts/svix.md §5)."""
    if 200 <= attempt.response_status_code < 300:
        return None
    if attempt.response_status_code > 0:
        return "http_status"
    text = attempt.response.lower()
    if "timed out" in text or "timeout" in text:
        return "timed_out"
    return "address_blocked" if "blocked" in text else "unreachable"
