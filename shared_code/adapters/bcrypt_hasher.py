"""Secrets at rest as bcrypt of a peppered pre-hash (facts/security.md 2.2): in a thread, few at a time."""

import asyncio
import hmac
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b

import bcrypt

from shared_code import errors

WAIT_SECONDS = 0.25
AT_ONCE = 2


@dataclass(eq=False)
class BcryptHasher:
    pepper: bytes = field(repr=False)
    cache_key: bytes = field(repr=False)
    cost: int
    patience: float = WAIT_SECONDS
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _nobody: bytes = b""

    async def hash(self, secret: str) -> str:
        """Never refused for want of a slot: whoever makes a secret waits its turn."""
        async with self._slots:
            salt = bcrypt.gensalt(self.cost)
            return (await asyncio.to_thread(bcrypt.hashpw, self._peppered(secret), salt)).decode()

    async def matches(self, secret: str, hashed: str | None) -> bool:
        async with self._slot():
            against = hashed.encode() if hashed else await self._dummy()
            same = await asyncio.to_thread(bcrypt.checkpw, self._peppered(secret), against)
            return same and hashed is not None

    def proof(self, secret: str) -> str:
        return blake2b(secret.encode(), digest_size=32, key=self.cache_key).hexdigest()

    def _peppered(self, secret: str) -> bytes:
        """64 bytes without NUL, so bcrypt's limit of 72 can never be met (facts/security.md 0.2)."""
        return b64encode(hmac.digest(self.pepper, secret.encode(), "sha384"))

    async def _dummy(self) -> bytes:
        """A hash of nobody's secret: an unknown key costs what a known one does."""
        if not self._nobody:
            self._nobody = await asyncio.to_thread(bcrypt.hashpw, b"nobody", bcrypt.gensalt(self.cost))
        return self._nobody

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._slots.acquire(), self.patience)
        except TimeoutError as error:
            raise errors.Overloaded(headers={"Retry-After": "1"}) from error
        try:
            yield
        finally:
            self._slots.release()
