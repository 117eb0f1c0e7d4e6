"""Moving stored secrets to the newest key, and telling when an older one may go (facts/security.md 2.4).

A batch is one transaction that holds its rows; what others hold is left for the next run, so nobody waits for
long. A value that does not open stays as it is and is told of: it would be lost otherwise.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared_code import errors
from shared_code.model import Health, SealedUnder, SealedValue
from shared_code.ports import Cipher, Clock, Store
from shared_code.services.audit import Fact, note, system_caller

BATCH = 500
MOST_BATCHES = 200
"""A run ends after so many of one field under one key; the next one goes on."""

logger = logging.getLogger("pinksync.keyring")


@dataclass(frozen=True, slots=True)
class Reencryption:
    store: Store
    cipher: Cipher
    now: Clock

    async def run(self) -> int:
        """Answers how many values were moved."""
        newest, *older = self.cipher.kids
        async with self.store.reading() as reading:
            owed = [under for under in await reading.sealed.kids() if under.kid in older]
        moved = sum([await self._move(under) for under in owed])
        if moved:
            message = f"{moved} stored secrets were moved to the key {newest}."
            async with self.store.transaction() as transaction:
                fact = Fact(event_type="keyring.reencrypted", message=message, target=newest)
                await note(transaction, system_caller("reencrypt"), fact, self.now())
        return moved

    async def counts(self) -> Mapping[SealedUnder, int]:
        """How many values of each field each key seals. A key that is not here may be dropped."""
        async with self.store.reading() as reading:
            return await reading.sealed.counts()

    async def health(self) -> Health:
        """Degraded while something is sealed under a key that this process does not have."""
        async with self.store.reading() as reading:
            lost = [under for under in await reading.sealed.kids() if under.kid not in self.cipher.kids]
        for under in lost:
            logger.error("%s has values under the key %s, which is not in TOKEN_KEYRING", under.field, under.kid)
        return Health.DEGRADED if lost else Health.OK

    async def _move(self, under: SealedUnder) -> int:
        moved, after = 0, None
        for _ in range(MOST_BATCHES):
            async with self.store.transaction() as transaction:
                held = await transaction.sealed.hold(under, after, BATCH)
                moved += await transaction.sealed.put(under.field, self._resealed(under.field, held))
            if len(held) < BATCH:
                break
            after = held[-1].place
        return moved

    def _resealed(self, field: str, held: Sequence[SealedValue]) -> Sequence[tuple[SealedValue, str]]:
        done: list[tuple[SealedValue, str]] = []
        for value in held:
            try:
                plain = self.cipher.open(value.text, value.owner, field)
            except errors.PinkSyncError:
                logger.error("a value of %s of %s does not open, and stays as it is", field, value.owner)
            else:
                done.append((value, self.cipher.seal(plain, value.owner, field)))
        return done
