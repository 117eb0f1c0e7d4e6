"""What the webhook service tells us about itself: hints, never the truth. Each makes us ask (facts/svix.md §3)."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

import orjson

from shared_code import errors
from shared_code.model import Severity
from shared_code.ports import Clock, SignatureCheck, Store
from shared_code.services.audit import Fact, note, system_caller
from shared_code.services.deliveries import DeliveryService

ATTEMPTS = frozenset({"message.attempt.failing", "message.attempt.exhausted", "message.attempt.recovered"})
UID_PREFIX = "ps_"
SVIX_ID = re.compile(r"[A-Za-z0-9\-_.]{1,256}", re.ASCII)

logger = logging.getLogger("pinksync.operational")


@dataclass(frozen=True, slots=True)
class OperationalService:
    store: Store
    deliveries: DeliveryService
    signed: SignatureCheck
    now: Clock
    secret: str | None

    async def receive(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raises InvalidSignature. Kinds that are not known here are accepted and ignored."""
        if not self.secret or self.signed(self.secret, headers, body, self.now()) is None:
            raise errors.InvalidSignature()
        kind, data = parsed(body)
        partner_id = uuid(data.get("appUid"))
        if partner_id is None:
            return
        if kind in ATTEMPTS:
            await self.deliveries.ask_soon(partner_id, known_id(data.get("msgEventId")))
        elif kind == "endpoint.disabled":
            await self._disabled(partner_id, known_id(data.get("endpointUid")), known_id(data.get("endpointId")))

    async def _disabled(self, partner_id: UUID, uid: str, svix_id: str) -> None:
        """The service gave an endpoint up; from now on its events are skipped, and can be recovered later."""
        now = self.now()
        async with self.store.transaction() as transaction:
            known = await transaction.endpoints.find(partner_id, uid.removeprefix(UID_PREFIX), svix_id)
            endpoint = await transaction.endpoints.get(known, lock=True) if known else None
            if endpoint is None or not endpoint.enabled or endpoint.deleted_at:
                return
            await transaction.endpoints.save(replace(endpoint, enabled=False, updated_at=now))
            fact = Fact(
                event_type="webhook_endpoint.disabled",
                message=f"Webhook endpoint {endpoint.endpoint_id} was switched off, as its deliveries kept failing.",
                target=endpoint.endpoint_id,
                partner_id=partner_id,
                severity=Severity.WARNING,
            )
            await note(transaction, system_caller("operational"), fact, now)


def parsed(body: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", {}
    if not isinstance(told, dict):
        return "", {}
    fields = cast(Mapping[str, Any], told)
    data = fields.get("data")
    return str(fields.get("type") or ""), cast(Mapping[str, Any], data) if isinstance(data, dict) else {}


def known_id(told: object) -> str:
    """An id in the form that Svix's have; of anything else nothing is known here."""
    return told if isinstance(told, str) and SVIX_ID.fullmatch(told) else ""


def uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None
