"""How far a sync is: what its checkpoint says, and when too many records are bad."""

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Self, cast

import orjson

from shared_code.model import CursorRule, Job, JobType, Json, PagingStyle, Step
from shared_code.ports import Fetched
from shared_code.services.sync_records import Sorted, keys_of, later, mark_in, text_of

MOST_BAD = 500
BAD_SHARE = 0.05
ENOUGH_TO_JUDGE = 1000
"""Records after which the share of bad ones is judged although nobody said how many there are."""
SHIFTING = frozenset({PagingStyle.PAGE, PagingStyle.OFFSET, PagingStyle.LINK})
"""Paging in which a record that goes away moves the next one to a page that was read already."""
MOST_REPEATS = 3
"""Of one page: that it comes again once can be a list that moves while it is read."""
MOST_PERCENT = 99.99
"""Of a job that has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The checkpoint. Marks are kept as text."""

    since: str | None = None
    """Everything that changed from there on is asked for, in the whole run."""
    position: Json | None = None
    """The next page; None at the start."""
    all_read: bool = False
    read: int = 0
    first_total: int | None = None
    total: int | None = None
    """As the partner said last."""
    highest: str | None = None
    clock: str | None = None
    """The partner's own, when the run began."""
    trusted: bool = True
    """What was not seen is really gone."""
    swept: str = ""
    """Keys up to this one have been looked at for deletion."""
    pages: int = 0
    landmark: str | None = None
    """What was on the first, the second, the fourth, the eighth ... page: the last one of these."""
    repeats: int = 0
    """How often that came again since."""
    validators: dict[str, str] | None = None
    unchanged: bool = False

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(**cast(dict[str, Any], job.checkpoint))

    def as_json(self) -> Json:
        return asdict(self)

    def step(self, **counts: int) -> Step:
        return Step(checkpoint=self.as_json(), progress_percent=self.percent, total=self.total, **counts)

    def after(self, page: Fetched, found: Sorted, rule: CursorRule | None, style: PagingStyle) -> Self:
        """With this page read."""
        first = page.total if self.first_total is None else self.first_total
        total = page.total if page.total is not None else self.total
        shrunk = style in SHIFTING and first is not None and total is not None and total < first
        nameless = any(bad.key is None for bad in found.bad)
        pages, seen = self.pages + 1, fingerprint(page, found)
        new_landmark = pages & (pages - 1) == 0
        return replace(
            self,
            pages=pages,
            landmark=seen if new_landmark else self.landmark,
            repeats=0 if new_landmark else self.repeats + (seen == self.landmark),
            position=page.next,
            all_read=page.next is None,
            read=self.read + len(page.records),
            first_total=first,
            total=total,
            highest=text_of(later(mark_in(self.highest, rule), found.highest)),
            clock=self.clock or (page.clock.isoformat() if page.clock else None),
            trusted=self.trusted and not shrunk and not nameless,
            validators=dict(page.validators) if page.next is None else None,
            unchanged=page.unchanged,
        )

    @property
    def percent(self) -> float:
        if not self.total:
            return 0.0
        return min(MOST_PERCENT, 100 * self.read / self.total)

    @property
    def endless(self) -> bool:
        """The partner's API goes in a circle. However long that is, a landmark comes to stand on it (R. P. Brent)."""
        return self.repeats >= MOST_REPEATS

    def most_bad(self) -> int:
        """How many bad records this run may have: one in any case."""
        return max(1, min(MOST_BAD, int(BAD_SHARE * max(self.read, self.total or 0))))

    def too_bad(self, failed: int) -> bool:
        judged = self.all_read or self.total is not None or self.read >= ENOUGH_TO_JUDGE
        return failed > MOST_BAD or (judged and failed > self.most_bad())


def fingerprint(page: Fetched, found: Sorted) -> str:
    """What is on a page: its keys; where there are none, the way to the next page."""
    return blake2b(orjson.dumps(sorted(keys_of(found)) or page.next), digest_size=16).hexdigest()


def sweeps(job: Job, progress: Progress, delete_missing: bool) -> bool:
    """Whether what this run did not see is deleted."""
    return job.job_type is JobType.FULL_SYNC and delete_missing and progress.trusted
