"""Idempotency-Key: the same request again gets the same answer (facts/security.md 2.8, contract §2).

The work and the kept answer are one transaction: a crash leaves neither, a success leaves both.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from shared_code import errors
from shared_code.model import StoredReply, carrier
from shared_code.ports import Cipher, Clock, Store

KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=30)
SETTLING = timedelta(seconds=10)
SETTLED_BY = "pinksync-settled-by"
"""Beside the headers of a kept answer that what became known after the commit may still replace: until then,
in epoch seconds, its work is under way."""
HELD = 0
"""The status of an answer that is still being worked on elsewhere."""
FIELD = "idempotency_replies.body"


@carrier
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    replayed: bool = False
    settling: bool = False
    """Not the last word yet: `refine` will say that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceKey:
    """One client's key on one route, with what it asked for."""

    tenant: str
    route: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Idempotency:
    store: Store
    cipher: Cipher
    now: Clock

    async def once(self, key: OnceKey, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer kept for this key, or the work's own, kept with it.

        Raises IdempotencyKeyReused for another request, IdempotencyInFlight while its twin works.
        An error that the work raises undoes it, and is not kept.
        """
        async with self.store.transaction() as transaction:
            kept = await transaction.replies.claim(key.tenant, key.route, key.key)
            if kept:
                return self._replay(key, kept)
            answer = await work()
            await transaction.replies.keep(key.tenant, key.route, key.key, self._sealed(key, answer), self._until())
        return answer

    async def leased(self, key: OnceKey, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """The same for work that is done elsewhere, where no transaction can take it back.

        The key is held by a row for LEASE, not by an open transaction: a slow backend must not use up the
        database's connections. After a crash the key is free again when the lease ends.
        """
        async with self.store.transaction() as transaction:
            kept = await transaction.replies.claim(key.tenant, key.route, key.key)
            if kept is None:
                held = self._sealed(key, Answer(status=HELD, headers={}, body=b""))
                await transaction.replies.keep(key.tenant, key.route, key.key, held, self.now() + LEASE)
        if kept:
            return self._replay(key, kept)
        try:
            answer = await work()
        except BaseException:
            await self._keep(key, Answer(status=HELD, headers={}, body=b""), self.now())
            raise
        await self._keep(key, answer, self._until())
        return answer

    async def refine(self, key: OnceKey, answer: Answer) -> None:
        """What became known only after the commit replaces the kept answer."""
        await self._keep(key, answer, self._until())

    async def _keep(self, key: OnceKey, answer: Answer, until: datetime) -> None:
        async with self.store.transaction() as transaction:
            await transaction.replies.keep(key.tenant, key.route, key.key, self._sealed(key, answer), until)

    def _replay(self, key: OnceKey, kept: StoredReply) -> Answer:
        if kept.fingerprint != key.fingerprint:
            raise errors.IdempotencyKeyReused()
        headers = dict(kept.headers)
        if kept.status == HELD or float(headers.pop(SETTLED_BY, 0)) > self.now().timestamp():
            raise errors.IdempotencyInFlight(headers={"Retry-After": "1"})
        body = self.cipher.open(kept.body_encrypted, key.tenant, FIELD)
        return Answer(status=kept.status, headers=headers, body=body, replayed=True)

    def _sealed(self, key: OnceKey, answer: Answer) -> StoredReply:
        settled_by = (self.now() + SETTLING).timestamp()
        return StoredReply(
            fingerprint=key.fingerprint,
            status=answer.status,
            headers={**answer.headers, SETTLED_BY: str(settled_by)} if answer.settling else answer.headers,
            body_encrypted=self.cipher.seal(answer.body, key.tenant, FIELD),
        )

    def _until(self) -> datetime:
        return self.now() + KEPT


def once_key(tenant: str, route: str, key: str, asked: bytes) -> OnceKey:
    """`asked` is everything that makes the request what it is: its path and its body."""
    if not KEY.fullmatch(key):
        raise errors.BadRequest("An Idempotency-Key is 1 to 255 printable ASCII characters without spaces.")
    return OnceKey(tenant=tenant, route=route, key=key, fingerprint=sha256(asked).digest())
