"""`last_used_at`, written in batches, and of each key at most once a minute, however often the timer runs."""

from dataclasses import dataclass

from shared_code.ports import KeyUse, Store

BATCH = 1000


@dataclass(frozen=True, slots=True)
class KeyUseService:
    uses: KeyUse
    store: Store

    async def flush(self) -> int:
        """A batch that is not full is the last one: keys in use are marked again at once, and are for the next run."""
        total = 0
        while times := await self.uses.take(BATCH):
            async with self.store.transaction() as transaction:
                await transaction.keys.used(times)
            total += len(times)
            if len(times) < BATCH:
                break
        return total
