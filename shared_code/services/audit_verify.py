"""Verifies the chains of the audit archive: that no row was changed, removed, put in or cut off."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shared_code.model import ChainHead
from shared_code.model.archive import GENESIS
from shared_code.ports import AuditArchive, AuditFilter, Store, StoredLink


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The first broken row of a chain. A row that is gone has a name where another one tells it, else none."""

    partition: str
    sequence: int | None
    row: str
    fault: str
    expected: str
    """The hash that belongs there, as far as it is known."""
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    chains: int
    rows: int
    breaks: Sequence[Break]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is kept of each row while its chain is read. `real` is the hash of what lies there now."""

    row: str
    stored: str
    real: str
    number: int = 0
    sequence: int = 0
    previous_row: str = ""
    previous_hash: str = ""

    @classmethod
    def of(cls, found: StoredLink) -> "Seen":
        link = found.link
        if link is None:
            return cls(row=found.row, stored=found.hash, real="")
        return cls(
            row=found.row,
            stored=found.hash,
            real=link.hash,
            number=link.row.number,
            sequence=link.sequence,
            previous_row=link.previous_row,
            previous_hash=link.previous_hash,
        )


@dataclass(frozen=True, slots=True)
class AuditVerifier:
    store: Store
    archive: AuditArchive

    async def verify(self) -> Verdict:
        """Reads the whole archive. The archiver may be at work meanwhile. Raises ArchiveUnavailable."""
        async with self.store.reading() as reading:
            heads = {head.partition: head for head in await reading.audit_heads.list(AuditFilter())}
        rows, chains, breaks = 0, set(heads), list[Break]()
        missing = set(heads)
        async for partition, chain in self._chains():
            missing.discard(partition)
            chains.add(partition)
            rows += len(chain)
            found = broken(partition, chain, heads.get(partition)) or await self._foreign(partition, chain, heads)
            breaks.extend([found] if found else [])
        breaks.extend(cut_off(partition, [], heads[partition]) for partition in missing)
        return Verdict(chains=len(chains), rows=rows, breaks=sorted(breaks, key=lambda each: each.partition))

    async def _chains(self) -> AsyncIterator[tuple[str, Sequence[Seen]]]:
        """Partition by partition, each in the order of its chain."""
        partition, chain = "", list[Seen]()
        async for found in self.archive.all():
            if found.partition != partition and chain:
                yield partition, sorted(chain, key=lambda seen: seen.sequence)
                chain = []
            partition = found.partition
            chain.append(Seen.of(found))
        if chain:
            yield partition, sorted(chain, key=lambda seen: seen.sequence)

    async def _foreign(self, partition: str, chain: Sequence[Seen], heads: Mapping[str, ChainHead]) -> Break | None:
        """A row beyond the head is either still in the store, its archiver having stopped half-way, or not ours."""
        head = heads.get(partition)
        beyond = [seen for seen in chain if head is None or seen.sequence > head.sequence]
        if not beyond:
            return None
        async with self.store.reading() as reading:
            held = await reading.audit.held([seen.number for seen in beyond])
            later = (await reading.audit_heads.of([partition])).get(partition)
        reached = later.sequence if later else 0
        strange = [seen for seen in beyond if seen.number not in held and seen.sequence > reached]
        return found_at(partition, strange[0], "was put there by somebody else", "") if strange else None


def broken(partition: str, chain: Sequence[Seen], head: ChainHead | None) -> Break | None:
    """The first break up to the head; the chain is in order."""
    return (
        next((found_at(partition, seen, "is no archived row", "") for seen in chain if not seen.real), None)
        or changed(partition, chain, head)
        or (cut_off(partition, chain, head) if head and last(chain) < head.sequence else None)
    )


def changed(partition: str, chain: Sequence[Seen], head: ChainHead | None) -> Break | None:
    """Each row against itself, the one before it and the one after it."""
    beginning = Seen(row="", stored=GENESIS, real=GENESIS)
    for before, seen in pairwise([beginning, *chain]):
        if seen.sequence <= before.sequence:
            return found_at(partition, seen, "has a place in the chain that another row has", before.real)
        if seen.sequence > before.sequence + 1:
            return gone_before(partition, seen, before)
        if seen.real != seen.stored:
            return found_at(partition, seen, "was changed", seen.stored)
        if (seen.previous_hash, seen.previous_row) != (before.real, before.row):
            return found_at(partition, before if before.row else seen, "was changed", seen.previous_hash)
        if head and seen.sequence == head.sequence and seen.real != head.hash:
            return found_at(partition, seen, "was changed", head.hash)
    return None


def gone_before(partition: str, seen: Seen, before: Seen) -> Break:
    """The first of the rows that are gone; the row after them tells the name and the hash of the last."""
    only = seen.sequence == before.sequence + 2
    return Break(
        partition=partition,
        sequence=before.sequence + 1,
        row=seen.previous_row if only else "",
        fault="is missing",
        expected=seen.previous_hash if only else "",
        found="",
    )


def cut_off(partition: str, chain: Sequence[Seen], head: ChainHead) -> Break:
    only = head.sequence == last(chain) + 1
    return Break(
        partition=partition,
        sequence=last(chain) + 1,
        row=head.row if only else "",
        fault="is missing",
        expected=head.hash if only else "",
        found="",
    )


def last(chain: Sequence[Seen]) -> int:
    return chain[-1].sequence if chain else 0


def found_at(partition: str, seen: Seen, fault: str, expected: str) -> Break:
    return Break(
        partition=partition,
        sequence=seen.sequence or None,
        row=seen.row,
        fault=fault,
        expected=expected,
        found=seen.real or seen.stored,
    )
