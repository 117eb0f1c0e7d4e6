"""Events in: signed by a partner, stored once, then worked from the inbox (design.md flow 3; security.md 2.9).

Worked means: written to the business backend, and published to the partner's own subscribers. Both are safe
to repeat, so a crash in between does neither twice. What can never work becomes a review.
"""

import asyncio
import base64
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast
from uuid import UUID

from shared_code import errors
from shared_code.model import (
    Caller,
    InboundSecret,
    InboxItem,
    Json,
    Origin,
    PartnerStatus,
    RecordName,
    Review,
    ReviewKind,
    Turn,
)
from shared_code.ports import Backend, Cipher, Clock, SignatureCheck, Store
from shared_code.services.audit import Fact, note, system_caller
from shared_code.services.backend_answers import understood
from shared_code.services.events import EventService, NewEvent
from shared_code.services.inbound_messages import Message, Unroutable, external_id, read, resource_of, upsert
from shared_code.services.pace import pause

SECRET_FIELD = "inbound_secrets.secret"  # noqa: S105 - the name of a field
NOBODY = "whsec_" + base64.b64encode(b"no partner has this secret: 32 b").decode()
LEASE = timedelta(seconds=60)
BATCH = 20
MOST_ATTEMPTS = 20
SERVED = (PartnerStatus.ACTIVE, PartnerStatus.PENDING)

logger = logging.getLogger("pinksync.inbound")


@dataclass(frozen=True, slots=True)
class InboundService:
    store: Store
    backend: Backend
    events: EventService
    cipher: Cipher
    signed: SignatureCheck
    now: Clock
    resources: frozenset[str]
    _writing: dict[RecordName, asyncio.Lock] = field(default_factory=dict[RecordName, asyncio.Lock])
    """Records that this process is writing: one event of each at a time."""

    async def new_secret(self, caller: Caller, partner_id: UUID, grace: timedelta) -> str:
        """A secret for the partner to sign with, shown this once; the one before lives on for the grace, no other."""
        caller.reach(partner_id)
        now = self.now()
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        async with self.store.transaction() as transaction:
            partner = await transaction.partners.get(partner_id, lock=True)
            if partner is None or partner.deleted_at:
                raise errors.NotFound()
            await transaction.inbound_secrets.expire(partner_id, now + grace, now)
            sealed = self.cipher.seal(secret.encode(), str(partner_id), SECRET_FIELD)
            row = InboundSecret(partner_id=partner_id, secret_encrypted=sealed, created_at=now)
            await transaction.inbound_secrets.add(row)
            fact = Fact(
                event_type="partner.inbound_secret_rotated",
                message="A new inbound secret was made.",
                target=str(partner_id),
                partner_id=partner_id,
                changes={"grace_seconds": int(grace.total_seconds())},
            )
            await note(transaction, caller, fact, now)
        return secret

    async def receive(self, partner_id: UUID | None, headers: Mapping[str, str], body: bytes, origin: Origin) -> bool:
        """Stored durably; False if it was here before. Raises InvalidSignature for every kind of garbage alike."""
        now = self.now()
        known = await self._secrets(partner_id)
        message_id = next((found for s in known if (found := self.signed(s, headers, body, now))), None)
        if message_id is None or partner_id is None:
            raise errors.InvalidSignature()
        async with self.store.transaction() as transaction:
            return await transaction.inbox.add(partner_id, message_id, body, origin, now) is not None

    async def work(self) -> int:
        """Everything that is due, batch by batch. Answers how many were finished."""
        total = 0
        while items := await self._claim():
            total += sum(await asyncio.gather(*(self._work(item) for item in items)))
        return total

    async def _secrets(self, partner_id: UUID | None) -> Sequence[str]:
        """One that is unknown or gone, or has no secret, is checked against nobody's: the answer takes as long."""
        if partner_id is None:
            return [NOBODY]
        async with self.store.reading() as reading:
            partner = await reading.partners.get(partner_id)
            live = await reading.inbound_secrets.live(partner_id, self.now())
        if partner is None or partner.deleted_at:
            live = ()
        opened = [self.cipher.open(each.secret_encrypted, str(partner_id), SECRET_FIELD).decode() for each in live]
        return opened or [NOBODY]

    async def _claim(self) -> Sequence[InboxItem]:
        async with self.store.transaction() as transaction:
            return await transaction.inbox.claim(self.now(), LEASE, BATCH)

    async def _work(self, item: InboxItem) -> bool:
        try:
            await self._route(item)
        except Unroutable as reason:
            await self._give_up(item, str(reason))
        except errors.PinkSyncError as error:
            return await self._failed(item, error)
        except Exception as error:  # ours to mend; until then it holds up nobody else's
            logger.exception("inbox item %d: %s", item.id, type(error).__name__)
            return await self._failed(item, errors.PinkSyncError())
        return True

    async def _failed(self, item: InboxItem, error: errors.PinkSyncError) -> bool:
        """Tried again later, if that can help. Answers whether the item is finished."""
        if error.status < 500 or item.attempts >= MOST_ATTEMPTS:
            await self._give_up(item, f"{error.code}: {error.message}")
            return True
        await self._postpone(item, error.code)
        return False

    async def _route(self, item: InboxItem) -> None:
        message = read(item.body)
        resource = resource_of(message.event_type, self.resources)
        async with self.store.reading() as reading:
            partner = await reading.partners.get(item.partner_id)
            known = await reading.event_types.get(message.event_type)
        if partner is None or partner.deleted_at or partner.status not in SERVED:
            raise Unroutable("The partner is not active; nothing of it is taken now.")
        if resource is None and known is None:
            raise Unroutable(f"Nobody here takes events of type `{message.event_type}`.")
        if resource:
            await self._write(item, resource, message)
        await self._finish(item, message if known else None)

    async def _write(self, item: InboxItem, resource: str, message: Message) -> None:
        """What happened later is never overwritten by what happened earlier, whichever is worked first."""
        record = (item.partner_id, resource, external_id(item, message))
        async with self._writing.setdefault(record, asyncio.Lock()):
            try:
                await self._write_in_turn(item, record, message)
            finally:
                self._writing.pop(record, None)

    async def _write_in_turn(self, item: InboxItem, record: RecordName, message: Message) -> None:
        happened_at = min(message.happened_at or item.received_at, item.received_at)
        async with self.store.single() as opened:
            turn = await opened.inbox.take_turn(record, happened_at, self.now(), LEASE)
        if turn is Turn.HELD:
            raise errors.StoreUnavailable("Another event of the same record is being written.")
        if turn is Turn.TAKEN:
            try:
                understood(await self.backend.forward(upsert(item, record, message)))
            finally:
                async with self.store.single() as opened:
                    await opened.inbox.end_turn(record, self.now())

    async def _finish(self, item: InboxItem, message: Message | None) -> None:
        """The fan-out and the end of the item are one transaction."""
        async with self.store.transaction() as transaction:
            if message:
                event = NewEvent(
                    event_type=message.event_type,
                    payload=cast(Json, message.data),
                    event_id=f"in_{item.id}",
                    partner_id=item.partner_id,
                )
                await self.events.publish(system_caller("inbound"), event)
            await transaction.inbox.done(item.id, self.now())

    async def _postpone(self, item: InboxItem, reason: str) -> None:
        now = self.now()
        async with self.store.transaction() as transaction:
            await transaction.inbox.postpone(item.id, now + pause(item.attempts), reason)

    async def _give_up(self, item: InboxItem, reason: str) -> None:
        logger.error("inbox item %d is set aside: %s", item.id, reason)
        now = self.now()
        async with self.store.transaction() as transaction:
            await transaction.inbox.bury(item.id, now, reason)
            found = Review.opened(ReviewKind.INBOUND_UNROUTABLE, str(item.id), item.partner_id, reason, now)
            await transaction.reviews.add(found)
