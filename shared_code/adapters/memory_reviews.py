"""Reviews in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from shared_code.adapters.memory_rows import View, listing, wanted
from shared_code.model import Listing, Page, Partner, Review, ReviewKind


@dataclass(frozen=True, slots=True)
class MemoryReviews:
    reviews: View[UUID, Review]
    subjects: View[tuple[ReviewKind, str], UUID]
    """The one review of each kind that a subject has."""
    partners: View[UUID, Partner]

    async def add(self, review: Review) -> bool:
        if review.partner_id:
            self.partners.require(review.partner_id)
        if not await self.subjects.insert((review.kind, review.subject), review.review_id):
            return await self._reopen(review)
        await self.reviews.add(review.review_id, review)
        return True

    async def _reopen(self, review: Review) -> bool:
        review_id = self.subjects.get((review.kind, review.subject))
        known = await self.reviews.lock(review_id) if review_id else None
        if known is None or known.resolved_at is None:
            return False
        opened = replace(known, reason=review.reason, note=None, resolved_by=None, resolved_at=None)
        self.reviews.put(known.review_id, opened)
        return True

    async def get(self, review_id: UUID, *, lock: bool = False) -> Review | None:
        return await self.reviews.lock(review_id) if lock else self.reviews.get(review_id)

    async def save(self, review: Review) -> None:
        known = await self.reviews.lock(review.review_id)
        if known:
            changes = {name: getattr(review, name) for name in ("note", "resolved_by", "resolved_at")}
            self.reviews.put(review.review_id, replace(known, **changes))

    async def settle(self, kind: ReviewKind, subject: str, note: str, now: datetime) -> None:
        review_id = self.subjects.get((kind, subject))
        review = await self.reviews.lock(review_id) if review_id else None
        if review and review.resolved_at is None:
            self.reviews.put(review.review_id, replace(review, note=note, resolved_by="system", resolved_at=now))

    async def settle_all(self, kind: ReviewKind, subjects: Sequence[str], note: str, now: datetime) -> None:
        for subject in subjects:
            await self.settle(kind, subject, note, now)

    async def list(self, page: Page, *, kind: ReviewKind | None = None, open: bool | None = None) -> Listing[Review]:
        def asked_for(review: Review) -> bool:
            return wanted((kind, review.kind), (open, review.resolved_at is None))

        return listing((row for row in self.reviews.rows() if asked_for(row.record)), page)
