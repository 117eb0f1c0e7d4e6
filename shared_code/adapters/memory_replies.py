"""Answers kept for Idempotency-Keys, in memory."""

from dataclasses import dataclass
from datetime import datetime

from shared_code import errors
from shared_code.adapters.memory_rows import View
from shared_code.adapters.memory_rules import fresh
from shared_code.model import StoredReply
from shared_code.ports import Clock

type Name = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    reply: StoredReply
    until: datetime


@dataclass(frozen=True, slots=True)
class MemoryReplies:
    replies: View[Name, Kept]
    clock: Clock

    async def claim(self, tenant: str, route: str, key: str) -> StoredReply | None:
        if not self.replies.take((tenant, route, key)):
            raise errors.IdempotencyInFlight(headers={"Retry-After": "1"})
        kept = self.replies.get((tenant, route, key))
        return fresh(kept.reply) if kept and kept.until > self.clock() else None

    async def keep(self, tenant: str, route: str, key: str, reply: StoredReply, until: datetime) -> None:
        name = (tenant, route, key)
        if not await self.replies.insert(name, Kept(reply, until)):
            self.replies.put(name, Kept(reply, until))
