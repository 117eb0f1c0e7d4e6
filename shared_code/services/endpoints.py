"""Webhook endpoints: opened here, made known to the webhook service through the outbox.

The secret is made here, not there, so that the answer can hold it even while the webhook service is down.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared_code import errors
from shared_code.model import Caller, Endpoint, OutboxKind
from shared_code.ports import Cipher, Clock, Store, Transaction, UrlRule
from shared_code.services.audit import Fact, note
from shared_code.services.key_format import random_text
from shared_code.services.relay import Relay

SECRET_FIELD = "webhook_endpoints.secret"  # noqa: S105 - the name of a field


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
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
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
            endpoint = await reading.endpoints.get(endpoint_id)
        if endpoint is None or endpoint.deleted_at:
            raise errors.NotFound()
        caller.reach(endpoint.partner_id)
        return endpoint


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
