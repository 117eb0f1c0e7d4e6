"""The audit archive in memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared_code import errors
from shared_code.adapters.memory_audit import passes
from shared_code.model import AuditLink, ChainHead
from shared_code.ports import AuditFilter, StoredLink


@dataclass(slots=True, eq=False)
class MemoryAuditArchive:
    rows: dict[tuple[str, str], StoredLink] = field(default_factory=dict[tuple[str, str], StoredLink])
    down: bool = False

    async def put(self, links: Sequence[AuditLink]) -> None:
        self._reach()
        for link in links:
            place = (link.row.partition, link.row.name)
            self.rows[place] = StoredLink(partition=place[0], row=place[1], link=link, hash=link.hash)

    async def read(
        self, head: ChainHead, wanted: AuditFilter, after: tuple[datetime, int] | None, limit: int
    ) -> Sequence[AuditLink]:
        found = [link for link in self._chain(head, wanted) if after is None or link.row.position < after]
        return found[:limit]

    async def count(self, head: ChainHead, wanted: AuditFilter, most: int) -> int:
        return min(len(self._chain(head, wanted)), most)

    async def all(self) -> AsyncIterator[StoredLink]:
        self._reach()
        for place in sorted(self.rows):
            yield self.rows[place]

    async def close(self) -> None:
        """Nothing to close; what was stored stays."""

    def _chain(self, head: ChainHead, wanted: AuditFilter) -> Sequence[AuditLink]:
        self._reach()
        links = [self.rows[place].link for place in sorted(self.rows) if place[0] == head.partition]
        return [link for link in links if link and link.sequence <= head.sequence and passes(wanted, link.row.entry)]

    def _reach(self) -> None:
        if self.down:
            raise errors.ArchiveUnavailable(headers={"Retry-After": "5"})
