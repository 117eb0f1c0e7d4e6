"""Webhook endpoints: opened here, made known to the webhook service through the outbox.

The secret is made here, not there, so that the answer can hold it even while the webhook service is down.
"""

import base64
import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code import errors
from shared_code.model import Caller, Endpoint, EndpointState, OutboxKind
from shared_code.ports import Cipher, Clock, Refused, Store, Transaction, UrlRule, WebhookService
from shared_code.services.audit import Fact, note
from shared_code.services.key_format import random_text
from shared_code.services.relay import SECRET_FIELD, Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    url: str
    events: Sequence[str]
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedEndpoint:
    endpoint: Endpoint
    secret: str


@dataclass(frozen=True, slots=True)
class EndpointBook:
    """Opens endpoints inside somebody else's transaction."""

    cipher: Cipher
    url_rule: UrlRule
    relay: Relay

    async def open(
        self, transaction: Transaction, caller: Caller, partner_id: UUID, wanted: NewEndpoint, now: datetime
    ) -> OpenedEndpoint:
        self.url_rule(wanted.url)
        await check_event_types(transaction, wanted.events)
        secret = new_secret()
        endpoint = Endpoint(
            endpoint_id=f"ep_{random_text(22)}",
            partner_id=partner_id,
            url=wanted.url,
            events=tuple(dict.fromkeys(wanted.events)),
            description=wanted.description,
            secret_encrypted=self.cipher.seal(secret.encode(), str(partner_id), SECRET_FIELD),
            created_at=now,
            updated_at=now,
        )
        await transaction.endpoints.add(endpoint)
        item = await transaction.outbox.add(OutboxKind.OPEN_ENDPOINT, partner_id, endpoint.endpoint_id, now)
        transaction.after_commit(lambda: self.relay.work_now([item]))
        await note(transaction, caller, opened_fact(endpoint), now)
        return OpenedEndpoint(endpoint=endpoint, secret=secret)


@dataclass(frozen=True, slots=True)
class EndpointService:
    store: Store
    book: EndpointBook
    service: WebhookService
    now: Clock

    async def register(self, caller: Caller, wanted: NewEndpoint, partner_id: UUID | None) -> OpenedEndpoint:
        target = caller.target(partner_id)
        async with self.store.transaction() as transaction:
            partner = await transaction.partners.get(target, lock=True)
            if partner is None or partner.deleted_at:
                raise errors.NotFound("There is no such partner.")
            return await self.book.open(transaction, caller, target, wanted, self.now())

    async def get(self, caller: Caller, endpoint_id: str) -> Endpoint:
        async with self.store.reading() as reading:
            return own(caller, await reading.endpoints.get(endpoint_id))

    async def change(self, caller: Caller, endpoint_id: str, changes: "EndpointChanges") -> Endpoint:
        """Stored here at once; the webhook service follows, now or when it can."""
        now = self.now()
        if changes.url is not None:
            self.book.url_rule(changes.url)
        async with self.store.transaction() as transaction:
            before = own(caller, await transaction.endpoints.get(endpoint_id, lock=True))
            if changes.events is not None:
                await check_event_types(transaction, changes.events)
            after = changed(before, changes, now)
            await transaction.endpoints.save(after)
            await self._owe(transaction, OutboxKind.PUT_ENDPOINT, after, now)
            await note(transaction, caller, changed_fact(after, changes), now)
        return after

    async def remove(self, caller: Caller, endpoint_id: str) -> None:
        now = self.now()
        async with self.store.transaction() as transaction:
            before = own(caller, await transaction.endpoints.get(endpoint_id, lock=True))
            gone = replace(before, enabled=False, secret_encrypted=None, deleted_at=now, updated_at=now)
            await transaction.endpoints.save(gone)
            await transaction.deliveries.check_endpoint(endpoint_id, now)
            await self._owe(transaction, OutboxKind.CLOSE_ENDPOINT, gone, now)
            await note(transaction, caller, removed_fact(gone), now)

    async def rotate_secret(self, caller: Caller, endpoint_id: str, grace: timedelta) -> str:
        """The new secret, shown this once; both sign until the grace ends. Needs the webhook service now."""
        endpoint = await self._registered(caller, endpoint_id)
        secret = new_secret()
        with refusals_told():
            await self.service.rotate_secret(endpoint, secret, grace)
        async with self.store.transaction() as transaction:
            await note(transaction, caller, rotated_fact(endpoint, grace), self.now())
        return secret

    async def send_test(self, caller: Caller, endpoint_id: str, event_type: str | None) -> str:
        """An example of this type, or of the endpoint's first. Needs the webhook service now."""
        endpoint = await self._registered(caller, endpoint_id)
        if not endpoint.enabled:
            raise errors.Conflict("The endpoint is disabled; enable it first.")
        chosen = event_type or endpoint.events[0]
        if event_type:
            async with self.store.reading() as reading:
                if await reading.event_types.get(event_type) is None:
                    violation = errors.Violation(pointer="/event_type", detail=f"Unknown event type `{event_type}`.")
                    raise errors.UnknownEventType(violations=[violation])
        with refusals_told():
            await self.service.send_test(endpoint, chosen)
        return chosen

    async def _registered(self, caller: Caller, endpoint_id: str) -> Endpoint:
        endpoint = await self.get(caller, endpoint_id)
        if endpoint.state is not EndpointState.REGISTERED:
            raise errors.Conflict(f"The endpoint is {endpoint.state.value}: the webhook service does not know it yet.")
        return endpoint

    async def _owe(self, transaction: Transaction, kind: OutboxKind, endpoint: Endpoint, now: datetime) -> None:
        item = await transaction.outbox.add(kind, endpoint.partner_id, endpoint.endpoint_id, now)
        transaction.after_commit(lambda: self.book.relay.work_now([item]))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChanges:
    """What is None stays as it is."""

    url: str | None = None
    events: Sequence[str] | None = None
    description: str | None = None
    enabled: bool | None = None


@contextmanager
def refusals_told() -> Generator[None]:
    """What the webhook service refuses for good is its failure, not ours."""
    try:
        yield
    except Refused as refusal:
        raise errors.UpstreamFailed("The webhook service refuses this.") from refusal


async def check_event_types(transaction: Transaction, names: Sequence[str]) -> None:
    known = {event_type.name for event_type in await transaction.event_types.list()}
    unknown = [
        errors.Violation(pointer=f"/events/{position}", detail=f"Unknown event type `{name}`.")
        for position, name in enumerate(names)
        if name not in known
    ]
    if unknown:
        raise errors.UnknownEventType(violations=unknown)


def opened_fact(endpoint: Endpoint) -> Fact:
    return Fact(
        event_type="webhook_endpoint.created",
        message=f"Webhook endpoint {endpoint.endpoint_id} was registered.",
        target=endpoint.endpoint_id,
        partner_id=endpoint.partner_id,
        changes={"url": endpoint.url, "events": list(endpoint.events)},
    )


def own(caller: Caller, endpoint: Endpoint | None) -> Endpoint:
    if endpoint is None or endpoint.deleted_at:
        raise errors.NotFound()
    caller.reach(endpoint.partner_id)
    return endpoint


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def changed(before: Endpoint, changes: EndpointChanges, now: datetime) -> Endpoint:
    return replace(
        before,
        url=before.url if changes.url is None else changes.url,
        events=before.events if changes.events is None else tuple(dict.fromkeys(changes.events)),
        description=before.description if changes.description is None else changes.description,
        enabled=before.enabled if changes.enabled is None else changes.enabled,
        updated_at=now,
    )


def changed_fact(endpoint: Endpoint, changes: EndpointChanges) -> Fact:
    given = {name: value for name, value in asdict(changes).items() if value is not None}
    return Fact(
        event_type="webhook_endpoint.updated",
        message=f"Webhook endpoint {endpoint.endpoint_id} was changed.",
        target=endpoint.endpoint_id,
        partner_id=endpoint.partner_id,
        changes=given,
    )


def removed_fact(endpoint: Endpoint) -> Fact:
    return Fact(
        event_type="webhook_endpoint.removed",
        message=f"Webhook endpoint {endpoint.endpoint_id} was removed.",
        target=endpoint.endpoint_id,
        partner_id=endpoint.partner_id,
        changes={"url": endpoint.url},
    )


def rotated_fact(endpoint: Endpoint, grace: timedelta) -> Fact:
    return Fact(
        event_type="webhook_endpoint.secret_rotated",
        message=f"The signing secret of {endpoint.endpoint_id} was replaced.",
        target=endpoint.endpoint_id,
        partner_id=endpoint.partner_id,
        changes={"grace_seconds": int(grace.total_seconds())},
    )
