"""Archived audit rows: chains of links, each with the hash of the one before it.

A chain is one partner's rows of one month (of the month they were written in, UTC), in the order in which they were
archived. Its hash covers every field, the place in the chain and the link before. Its head is kept elsewhere than the
chain, so that a chain whose end was cut off is noticed too.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Self
from uuid import UUID

from shared_code.model.records import AuditEntry

GENESIS = "0" * 64
"""The hash before the first link."""
HOUSE_PARTITION = "house"
_LAST_MICROSECOND = 10**18 - 1
_LAST_NUMBER = 10**19 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """An audit entry and its number, which grows with each row."""

    number: int
    entry: AuditEntry

    @property
    def partition(self) -> str:
        return partition_of(self.entry.partner_id, self.entry.created_at)

    @property
    def position(self) -> tuple[datetime, int]:
        return self.entry.created_at, self.number

    @property
    def name(self) -> str:
        return row_name(*self.position)


@dataclass(frozen=True, kw_only=True)
class AuditLink:
    """One archived row. `previous_row` is empty, and `previous_hash` GENESIS, for the first of a chain."""

    row: AuditRow
    sequence: int
    previous_row: str
    previous_hash: str

    @cached_property
    def hash(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def text(self) -> str:
        """What is hashed: canonical JSON, so that the same row has the same hash whoever writes it."""
        return canonical(
            asdict(self.row.entry)
            | {
                "number": self.row.number,
                "sequence": self.sequence,
                "previous_row": self.previous_row,
                "previous_hash": self.previous_hash,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The last link of a chain, and how far back and forth in time the chain reaches."""

    partition: str
    partner_id: UUID | None
    sequence: int
    row: str
    hash: str
    oldest: datetime
    newest: datetime

    def after(self, links: Sequence[AuditLink]) -> Self:
        times = [link.row.entry.created_at for link in links]
        return type(self)(
            partition=self.partition,
            partner_id=self.partner_id,
            sequence=links[-1].sequence,
            row=links[-1].row.name,
            hash=links[-1].hash,
            oldest=min(self.oldest, *times),
            newest=max(self.newest, *times),
        )


def linked(rows: Sequence[AuditRow], head: ChainHead | None) -> Sequence[AuditLink]:
    """These rows of one partition as the next links of its chain; always the same ones, however often it is asked."""
    sequence, previous_row, previous_hash = (head.sequence, head.row, head.hash) if head else (0, "", GENESIS)
    links: list[AuditLink] = []
    for row in rows:
        sequence += 1
        link = AuditLink(row=row, sequence=sequence, previous_row=previous_row, previous_hash=previous_hash)
        links.append(link)
        previous_row, previous_hash = row.name, link.hash
    return links


def new_head(head: ChainHead | None, links: Sequence[AuditLink]) -> ChainHead:
    first = links[0].row
    begun = head or ChainHead(
        partition=first.partition,
        partner_id=first.entry.partner_id,
        sequence=0,
        row="",
        hash=GENESIS,
        oldest=first.entry.created_at,
        newest=first.entry.created_at,
    )
    return begun.after(links)


def partition_of(partner_id: UUID | None, at: datetime) -> str:
    return f"{partner_id or HOUSE_PARTITION}_{at.astimezone(UTC):%Y%m}"


def row_name(at: datetime, number: int) -> str:
    """Sorts newest first: what remains of time, then of the row's number, both with leading zeros."""
    passed = at - _EPOCH
    microseconds = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    return f"{_LAST_MICROSECOND - microseconds:018d}-{_LAST_NUMBER - number:019d}"


def canonical(value: object) -> str:
    """JSON with sorted names and no spaces; times in UTC with microseconds."""
    return json.dumps(value, default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> str:
    return moment_text(value) if isinstance(value, datetime) else str(value)


def moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
