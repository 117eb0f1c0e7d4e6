"""The webhook service on Svix, through its official async SDK.

Svix's ids are ours: the application's uid is the partner's id, the message's eventId is the event's id, and
an endpoint's uid is derived from ours, so every call is safe to repeat (facts/svix.md §0, §1).
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from json import JSONDecodeError
from uuid import UUID

import httpx
from httpx_aiohttp import AiohttpTransport
from svix.api import (
    EndpointCreateOptions,
    EndpointRotateSecretOptions,
    MessageAttemptListAttemptedDestinationsOptions,
    MessageCreateOptions,
    SvixAsync,
    SvixOptions,
)
from svix.models import (
    ApplicationIn,
    EndpointIn,
    EndpointOut,
    EndpointPatch,
    EndpointSecretRotateIn,
    EventExampleIn,
    EventTypeUpsertIn,
    MessageIn,
    MessageStatus,
    ReplayIn,
)

from shared_code import errors
from shared_code.adapters.svix_errors import Missing, Taken, note_status, translated
from shared_code.adapters.svix_outcomes import PAGE, SvixOutcomes, endpoint_uid
from shared_code.model import Delivery, Endpoint, Event, EventType
from shared_code.ports import MessageLost, Outcome, Refused

TIMEOUT_SECONDS = 6.0
LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=32)
A_MOMENT = timedelta(milliseconds=1)


@dataclass(eq=False)
class SvixWebhooks:
    token: str = field(repr=False)
    server_url: str | None = None
    _replaced: list[httpx.AsyncClient] = field(default_factory=list[httpx.AsyncClient])

    @cached_property
    def client(self) -> SvixAsync:
        """No retries in here: the outbox retries, and knows when.

        The SDK's own transport costs 1.0 to 1.6 ms of processor time a call, aiohttp's 0.6.
        """
        made = SvixAsync(
            self.token, SvixOptions(server_url=self.server_url, retry_schedule=[], timeout=TIMEOUT_SECONDS)
        )
        made._httpx_client = httpx.AsyncClient(  # pyright: ignore[reportPrivateUsage] - it takes none of ours
            transport=AiohttpTransport(limits=LIMITS), event_hooks={"response": [note_status]}
        )
        return made

    def use_token(self, token: str) -> None:
        """From the next call on; those under way end with the old one."""
        if token != self.token:
            self.token = token
            if "client" in self.__dict__:
                self._replaced.append(self._http)
                del self.client

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
        message = MessageIn(
            event_type=event.event_type,
            payload=dict(event.payload or {}),
            event_id=event.event_id,
            transformations_params={"headers": {"traceparent": event.traceparent}} if event.traceparent else None,
        )
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
        try:
            with translated():
                places = await self.client.message_attempt.list_attempted_destinations(
                    app, event_id, MessageAttemptListAttemptedDestinationsOptions(limit=PAGE)
                )
        except Missing as missing:
            raise MessageLost() from missing
        return next((place.status for place in places.data if place.uid == uid), None)

    async def _replay(self, app: str, uid: str, event_id: str) -> None:
        """The messages of this very moment that the endpoint has missed; an older self-hosted Svix cannot do it."""
        try:
            with translated():
                message = await self.client.message.get(app, event_id)
        except Missing as missing:
            raise MessageLost() from missing
        moment = ReplayIn(since=message.timestamp - A_MOMENT, until=message.timestamp + A_MOMENT)
        try:
            with translated():
                await self.client.endpoint.replay_missing(app, uid, moment)
        except errors.WebhookServiceUnavailable as error:
            if isinstance(error.__cause__, JSONDecodeError):
                raise Refused("this Svix server cannot replay what an endpoint has missed") from error
            raise

    async def outcomes(self, partner_id: UUID, event_id: str) -> Sequence[Outcome]:
        return await SvixOutcomes(self.client.message_attempt).of_event(str(partner_id), event_id)

    async def recent(
        self, partner_id: UUID, endpoint_id: str, since: datetime, event_ids: Collection[str]
    ) -> Mapping[str, Outcome]:
        return await SvixOutcomes(self.client.message_attempt).at_endpoint(
            str(partner_id), endpoint_id, since, event_ids
        )

    async def ping(self) -> None:
        """Any answer of Svix's own proves it is there; the SDK's health call does not know every server's."""
        base = self.server_url or "https://api.svix.com"
        with translated():
            (await self._http.get(f"{base.rstrip('/')}/api/v1/health/")).raise_for_status()

    async def close(self) -> None:
        """The SDK has no close of its own."""
        for each in self._replaced:
            await each.aclose()
        if "client" in self.__dict__:
            await self._http.aclose()

    @property
    def _http(self) -> httpx.AsyncClient:
        """The SDK's one client, which hangs under every resource."""
        return self.client._httpx_client  # pyright: ignore[reportPrivateUsage]

    async def _ensure_application(self, app: str) -> None:
        with translated():
            await self.client.application.get_or_create(ApplicationIn(name=app, uid=app))


def check_filter(opened: EndpointOut, asked: Endpoint) -> None:
    """An old Svix server ignores `eventTypes` and would send everything: fail closed (facts/svix.md 0.2)."""
    if set(opened.event_types or ()) != set(asked.events):
        raise Refused("the webhook service did not take the list of event types")


def idempotency_key(*parts: str) -> str:
    return "ps_" + hashlib.sha256("|".join(parts).encode()).hexdigest()
