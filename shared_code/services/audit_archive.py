"""Moves old audit rows from the store to the archive, each with the hash of the one before it.

First into the archive, then, in one transaction, the heads of the chains forward and the rows out of the store. A
crash in between leaves rows in both places, which readers see once, and which the next run writes over with the
very same links. The archive being down keeps the rows where they are.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared_code import errors
from shared_code.model import AuditLink, AuditRow, ChainHead
from shared_code.model.archive import linked, new_head
from shared_code.ports import AuditArchive, Clock, Store

BATCH = 500
AT_ONCE = 8
"""Chains that are written at the same time."""
LONGEST_RUN = 120.0
"""Seconds after which a run ends; the next one goes on."""
PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class AuditArchiver:
    store: Store
    archive: AuditArchive | None
    now: Clock
    hot: timedelta
    """How long rows stay in the store."""

    async def move(self) -> int:
        """Answers how many rows moved. Without an archive they stay. Raises ArchiveUnavailable."""
        if self.archive is None:
            return 0
        until, total = time.monotonic() + LONGEST_RUN, 0
        while time.monotonic() < until:
            moved = await self._move_batch(self.archive)
            total += moved
            if moved < BATCH:
                break
            await asyncio.sleep(PAUSE)
        return total

    async def _move_batch(self, archive: AuditArchive) -> int:
        async with self.store.reading() as reading:
            rows = await reading.audit.oldest(self.now() - self.hot, BATCH)
            heads = await reading.audit_heads.of({row.partition for row in rows})
        chains = chained(rows, heads)
        writing = asyncio.Semaphore(AT_ONCE)

        async def write(links: Sequence[AuditLink]) -> None:
            async with writing:
                await archive.put(links)

        await asyncio.gather(*(write(links) for links in chains.values()))
        await self._settle(rows, chains, heads)
        return len(rows)

    async def _settle(
        self,
        rows: Sequence[AuditRow],
        chains: Mapping[str, Sequence[AuditLink]],
        heads: Mapping[str, ChainHead],
    ) -> None:
        """Fenced by the heads: an archiver that lost its lock meanwhile changes nothing."""
        async with self.store.transaction() as transaction:
            for partition, links in sorted(chains.items()):
                head = heads.get(partition)
                await transaction.audit_heads.advance(new_head(head, links), head.sequence if head else 0)
            if await transaction.audit.remove([row.number for row in rows]) != len(rows):
                raise errors.Conflict("Rows that were being archived have left meanwhile.")


def chained(rows: Sequence[AuditRow], heads: Mapping[str, ChainHead]) -> Mapping[str, Sequence[AuditLink]]:
    by_partition: dict[str, list[AuditRow]] = {}
    for row in rows:
        by_partition.setdefault(row.partition, []).append(row)
    return {partition: linked(own, heads.get(partition)) for partition, own in by_partition.items()}
