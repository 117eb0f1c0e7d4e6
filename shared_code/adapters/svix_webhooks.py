"""The webhook service on Svix, through its official async SDK. Maps every way in which that SDK can fail.

Svix's ids are ours: the application's uid is the partner's id, the message's eventId is the event's id, and
an endpoint's uid is derived from ours, so every call is safe to repeat (facts/svix.md §0, §1).
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from json import JSONDecodeError
from uuid import UUID

import httpx
from svix.api import (
    EndpointCreateOptions,
    EndpointRotateSecretOptions,
    MessageAttemptListAttemptedDestinationsOptions,
    MessageAttemptListByMsgOptions,
    MessageCreateOptions,
    SvixAsync,
    SvixOptions,
)
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import (
    ApplicationIn,
    EndpointIn,
    EndpointOut,
    EndpointPatch,
    EndpointSecretRotateIn,
    EventExampleIn,
    EventTypeUpsertIn,
    MessageAttemptOut,
    MessageIn,
    MessageStatus,
    ReplayIn,
)

from shared_code import errors
from shared_code.model import Attempt, Delivery, Endpoint, Event, EventType
from shared_code.ports import Outcome, Refused

TIMEOUT_SECONDS = 6.0
PAGE = 250
A_MOMENT = timedelta(milliseconds=1)
BODY_CHARACTERS = 2048

logger = logging.getLogger("pinksync.svix")


class Missing(errors.WebhookServiceUnavailable):
    """Svix answered 404: the application, endpoint or message is not there."""


class Taken(errors.WebhookServiceUnavailable):
    """Svix answered 409: this uid or eventId is there already."""


@contextmanager
def translated() -> Iterator[None]:
    """The SDK's failures as ours. An answer it cannot parse is an unavailable service, never a crash."""
    try:
        yield
    except HTTPValidationError as error:
        raise Refused("422 from the webhook service") from error
    except HttpError as error:
        raise kind(error.status_code) from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:  # pydantic's and JSON's too
        logger.error("the webhook service answered what its SDK cannot read: %s", type(error).__name__)
        raise errors.WebhookServiceUnavailable() from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise errors.WebhookServiceUnavailable() from error


def kind(status: int) -> Exception:
    if status == 404:
        return Missing()
    if status == 409:
        return Taken()
    if status in (400, 413, 422):
        return Refused(f"{status} from the webhook service")
    if status in (401, 403):
        logger.error("the webhook service refuses our token (%d): check SVIX_TOKEN", status)
    return errors.WebhookServiceUnavailable()


@dataclass(eq=False)
class SvixWebhooks:
    token: str = field(repr=False)
    server_url: str | None = None

    @cached_property
    def client(self) -> SvixAsync:
        """No retries in here: the outbox retries, and knows when."""
        return SvixAsync(
            self.token, SvixOptions(server_url=self.server_url, retry_schedule=[], timeout=TIMEOUT_SECONDS)
        )

    async def open_endpoint(self, endpoint: Endpoint, secret: str) -> str:
        app = str(endpoint.partner_id)
        await self._ensure_application(app)
        wanted = EndpointIn(
            url=endpoint.url,
            uid=endpoint_uid(endpoint.endpoint_id),
            description=endpoint.description,
            disabled=not endpoint.enabled,
            event_types=list(endpoint.events),
            secret=secret,
        )
        options = EndpointCreateOptions(idempotency_key=idempotency_key("endpoint", endpoint.endpoint_id))
        try:
            with translated():
                opened = await self.client.endpoint.create(app, wanted, options)
        except Taken:
            with translated():
                opened = await self.client.endpoint.get(app, endpoint_uid(endpoint.endpoint_id))
        check_filter(opened, endpoint)
        return opened.id

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        """Setting `disabled` either way and the filter again each time: the same call twice is the same state."""
        wanted = EndpointPatch(
            url=endpoint.url,
            description=endpoint.description,
            disabled=not endpoint.enabled,
            event_types=list(endpoint.events),
        )
        with translated():
            changed = await self.client.endpoint.patch(
                str(endpoint.partner_id), endpoint_uid(endpoint.endpoint_id), wanted
            )
        check_filter(changed, endpoint)

    async def close_endpoint(self, endpoint: Endpoint) -> None:
        try:
            with translated():
                await self.client.endpoint.delete(str(endpoint.partner_id), endpoint_uid(endpoint.endpoint_id))
        except Missing:
            return

    async def rotate_secret(self, endpoint: Endpoint, secret: str, grace: timedelta) -> None:
        """Some servers answer 204 where the SDK wants JSON: the secret is rotated all the same (facts/svix.md 0.1)."""
        app, uid = str(endpoint.partner_id), endpoint_uid(endpoint.endpoint_id)
        wanted = EndpointSecretRotateIn(key=secret, grace_period_seconds=int(grace.total_seconds()))
        options = EndpointRotateSecretOptions(idempotency_key=idempotency_key("rotate", uid, secret))
        try:
            with translated():
                await self.client.endpoint.rotate_secret(app, uid, wanted, options)
        except errors.WebhookServiceUnavailable as error:
            if not isinstance(error.__cause__, JSONDecodeError):
                raise
            with translated():
                known = await self.client.endpoint.get_secret(app, uid)
            if known.key != secret:
                raise

    async def send_test(self, endpoint: Endpoint, event_type: str) -> None:
        app, uid = str(endpoint.partner_id), endpoint_uid(endpoint.endpoint_id)
        try:
            with translated():
                await self.client.endpoint.send_example(app, uid, EventExampleIn(event_type=event_type))
        except Refused:  # no example for this type there: a ping proves the way as well
            with translated():
                await self.client.endpoint.send_example(app, uid, EventExampleIn(event_type="svix.ping"))

    async def close_partner(self, partner_id: UUID) -> None:
        try:
            with translated():
                await self.client.application.delete(str(partner_id))
        except Missing:
            return

    async def put_event_type(self, event_type: EventType) -> None:
        """An upsert: Svix learns the name, and keeps the schema for its own portal."""
        wanted = EventTypeUpsertIn(
            description=event_type.description or event_type.name,
            deprecated=event_type.deprecated,
            archived=False,
            schemas={"1": dict(event_type.schema)} if event_type.schema else None,
        )
        with translated():
            await self.client.event_type.upsert(event_type.name, wanted)

    async def send(self, event: Event) -> None:
        app = str(event.partner_id)
        message = MessageIn(event_type=event.event_type, payload=dict(event.payload or {}), event_id=event.event_id)
        options = MessageCreateOptions(idempotency_key=idempotency_key("event", app, event.event_id))
        try:
            try:
                with translated():
                    await self.client.message.create(app, message, options)
            except Missing:
                await self._ensure_application(app)
                with translated():
                    await self.client.message.create(app, message, options)
        except Taken:  # accepted before: the answer was lost, the message was not
            return

    async def resend(self, delivery: Delivery) -> None:
        """What was never tried there (the endpoint was disabled then) cannot be resent, only replayed.

        A replay takes messages of the same millisecond along; they are under way then, and not sent twice.
        """
        app, uid = str(delivery.partner_id), endpoint_uid(delivery.endpoint_id)
        if not delivery.attempt_count:
            known = await self._status_at(app, delivery.event_id, uid)
            if known is None:
                return await self._replay(app, uid, delivery.event_id)
            if known is not MessageStatus.FAIL:
                return None
        try:
            with translated():
                await self.client.message_attempt.resend(app, delivery.event_id, uid)
        except Missing:
            await self._replay(app, uid, delivery.event_id)

    async def _status_at(self, app: str, event_id: str, uid: str) -> MessageStatus | None:
        with translated():
            places = await self.client.message_attempt.list_attempted_destinations(
                app, event_id, MessageAttemptListAttemptedDestinationsOptions(limit=PAGE)
            )
        return next((place.status for place in places.data if place.uid == uid), None)

    async def _replay(self, app: str, uid: str, event_id: str) -> None:
        """The messages of this very moment that the endpoint has missed; an older self-hosted Svix cannot do it."""
        with translated():
            message = await self.client.message.get(app, event_id)
        moment = ReplayIn(since=message.timestamp - A_MOMENT, until=message.timestamp + A_MOMENT)
        try:
            with translated():
                await self.client.endpoint.replay_missing(app, uid, moment)
        except errors.WebhookServiceUnavailable as error:
            if isinstance(error.__cause__, JSONDecodeError):
                raise Refused("this Svix server cannot replay what an endpoint has missed") from error
            raise

    async def outcomes(self, partner_id: UUID, event_id: str) -> Sequence[Outcome]:
        """A deleted endpoint has lost its uid there; its outcome goes by Svix's own id for it."""
        app = str(partner_id)
        try:
            with translated():
                places = await self.client.message_attempt.list_attempted_destinations(
                    app, event_id, MessageAttemptListAttemptedDestinationsOptions(limit=PAGE)
                )
                tries = await self.client.message_attempt.list_by_msg(
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

    async def ping(self) -> None:
        """Any answer of Svix's own proves it is there; the SDK's health call does not know every server's."""
        base = self.server_url or "https://api.svix.com"
        with translated():
            (await self._http.get(f"{base.rstrip('/')}/api/v1/health/")).raise_for_status()

    async def close(self) -> None:
        """The SDK has no close of its own."""
        if "client" in self.__dict__:
            await self._http.aclose()

    @property
    def _http(self) -> httpx.AsyncClient:
        """The SDK's one client, which hangs under every resource; a new one would cost 50 ms of TLS set-up."""
        return self.client.application._httpx_client  # pyright: ignore[reportPrivateUsage]

    async def _ensure_application(self, app: str) -> None:
        with translated():
            await self.client.application.get_or_create(ApplicationIn(name=app, uid=app))


def check_filter(opened: EndpointOut, asked: Endpoint) -> None:
    """An old Svix server ignores `eventTypes` and would send everything: fail closed (facts/svix.md 0.2)."""
    if set(opened.event_types or ()) != set(asked.events):
        raise Refused("the webhook service did not take the list of event types")


def endpoint_uid(endpoint_id: str) -> str:
    """Svix keeps the prefix `ep_` for ids of its own."""
    return f"ps_{endpoint_id}"


def own_id(uid: str | None) -> str:
    return (uid or "").removeprefix("ps_")


def idempotency_key(*parts: str) -> str:
    return "ps_" + hashlib.sha256("|".join(parts).encode()).hexdigest()


def to_attempt(attempt: MessageAttemptOut, endpoint_id: str) -> Attempt:
    answered = attempt.response_status_code > 0
    return Attempt(
        attempt_id=attempt.id,
        endpoint_id=endpoint_id,
        at=attempt.timestamp,
        response_code=attempt.response_status_code if answered else None,
        response_body=attempt.response[:BODY_CHARACTERS].replace("\x00", "") if answered else "",
        duration_ms=attempt.response_duration_ms,
        error=failure(attempt),
    )


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
