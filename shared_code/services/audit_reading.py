"""The audit trail read back, newest first: from the store, and on into the archive, as one list.

Archived rows are older than those that are still here, so a page begins in the store and ends in the archive. A
chain is read up to its head, and the heads are read after the rows: what moves between the two is seen twice, and
dropped once.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared_code import errors
from shared_code.model import MOST_COUNTED, AuditEntry, AuditLink, ChainHead, Listing, Page
from shared_code.ports import AuditArchive, AuditFilter, Store

AT_ONCE = 8
"""Chains that are read at the same time."""
COUNTING_SECONDS = 2.0
LAST_NUMBER = 2**63 - 1

type Position = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class AuditService:
    store: Store
    archive: AuditArchive | None = None

    async def list(self, wanted: AuditFilter, page: Page) -> Listing[AuditEntry]:
        """Raises ArchiveUnavailable when the page needs rows of an archive that cannot be reached."""
        async with self.store.reading() as reading:
            hot = await reading.audit.list(wanted, page)
            heads = await reading.audit_heads.list(wanted) if self.archive else ()
        if self.archive is None or not heads:
            return hot
        if hot.next is None:
            hot = await self._read_on(self.archive, hot, heads, wanted, page)
        return await self._counted(self.archive, hot, heads, wanted)

    async def _read_on(
        self,
        archive: AuditArchive,
        hot: Listing[AuditEntry],
        heads: Sequence[ChainHead],
        wanted: AuditFilter,
        page: Page,
    ) -> Listing[AuditEntry]:
        skip = 0 if hot.items else max(0, page.offset - await self._passed(wanted, page, hot.total))
        room = page.limit - len(hot.items)
        try:
            links = await newest(archive, heads, wanted, page.after, skip + room + len(hot.items) + 1)
        except errors.ArchiveUnavailable:
            if room:
                raise
            return replace(hot, next=(max(head.newest for head in heads), LAST_NUMBER))
        seen = {entry.log_id for entry in hot.items}
        older = [link for link in links if link.row.entry.log_id not in seen][skip:]
        items = [*hot.items, *(link.row.entry for link in older[:room])]
        return replace(hot, items=items, next=just_before(older[room]) if len(older) > room else None)

    async def _passed(self, wanted: AuditFilter, page: Page, total: int) -> int:
        """How many rows of the store the offset passes over, when it passes over all of them."""
        if page.after is None:
            return total
        async with self.store.reading() as reading:
            return len((await reading.audit.list(wanted, Page(limit=max(1, page.offset), after=page.after))).items)

    async def _counted(
        self, archive: AuditArchive, found: Listing[AuditEntry], heads: Sequence[ChainHead], wanted: AuditFilter
    ) -> Listing[AuditEntry]:
        """With the archive's rows in the total; not exact if they cannot be counted in time."""
        total = found.total
        try:
            async with asyncio.timeout(COUNTING_SECONDS):
                for head in heads:
                    if total >= MOST_COUNTED:
                        break
                    whole = wholly_wanted(head, wanted)
                    total += head.sequence if whole else await archive.count(head, wanted, MOST_COUNTED - total)
        except (TimeoutError, errors.ArchiveUnavailable):
            return replace(found, total=min(total, MOST_COUNTED), exact=False)
        return replace(found, total=min(total, MOST_COUNTED))


async def newest(
    archive: AuditArchive,
    heads: Sequence[ChainHead],
    wanted: AuditFilter,
    after: Position | None,
    limit: int,
) -> Sequence[AuditLink]:
    """The newest of all these chains after that position. Chains (newest first) are read a few at a time, until
    none that is left can hold anything newer than what was found.
    """
    reaching = [head for head in heads if after is None or head.oldest <= after[0]]
    found: list[AuditLink] = []
    for start in range(0, len(reaching), AT_ONCE):
        few = reaching[start : start + AT_ONCE]
        if len(found) >= limit and found[limit - 1].row.entry.created_at > few[0].newest:
            break
        for links in await asyncio.gather(*(archive.read(head, wanted, after, limit) for head in few)):
            found.extend(links)
        found.sort(key=lambda link: link.row.position, reverse=True)
    return found[:limit]


def just_before(link: AuditLink) -> Position:
    """The position after which a list begins with this row."""
    created_at, number = link.row.position
    return created_at, number + 1


def wholly_wanted(head: ChainHead, wanted: AuditFilter) -> bool:
    """Whether every row of the chain is asked for, so that its length says how many."""
    if wanted.severity or wanted.event_type or wanted.request_id:
        return False
    since, until = wanted.since or head.oldest, wanted.until
    return head.oldest >= since and (until is None or head.newest < until)
