"""Reviews in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.adapters.postgres_rows import Connection, Where, listing
from shared_code.model import Listing, Page, Review, ReviewKind

COLUMNS = "review_id, kind, subject, partner_id, reason, note, resolved_by, resolved_at, created_at"


@dataclass(frozen=True, slots=True)
class PostgresReviews:
    connection: Connection

    async def add(self, review: Review) -> bool:
        added = await self.connection.execute(
            """INSERT INTO reviews (review_id, kind, subject, partner_id, reason, created_at)
               VALUES (%(review_id)s, %(kind)s, %(subject)s, %(partner_id)s, %(reason)s, %(created_at)s)
               ON CONFLICT (kind, subject) DO UPDATE
                 SET reason = excluded.reason, note = NULL, resolved_by = NULL, resolved_at = NULL
                 WHERE reviews.resolved_at IS NOT NULL""",
            asdict(review),
        )
        return added.rowcount == 1

    async def get(self, review_id: UUID, *, lock: bool = False) -> Review | None:
        locking = "FOR NO KEY UPDATE" if lock else ""
        found = await self.connection.execute(
            f"SELECT {COLUMNS} FROM reviews WHERE review_id = %s {locking}",  # noqa: S608 - literals only
            (review_id,),
        )
        row = await found.fetchone()
        return from_row(row) if row else None

    async def save(self, review: Review) -> None:
        await self.connection.execute(
            """UPDATE reviews SET note = %(note)s, resolved_by = %(resolved_by)s, resolved_at = %(resolved_at)s
               WHERE review_id = %(review_id)s""",
            asdict(review),
        )

    async def settle(self, kind: ReviewKind, subject: str, note: str, now: datetime) -> None:
        await self.settle_all(kind, [subject], note, now)

    async def settle_all(self, kind: ReviewKind, subjects: Sequence[str], note: str, now: datetime) -> None:
        await self.connection.execute(
            """UPDATE reviews SET note = %s, resolved_by = 'system', resolved_at = %s
               WHERE kind = %s AND subject = ANY (%s) AND resolved_at IS NULL""",
            (note, now, kind, list(subjects)),
        )

    async def list(self, page: Page, *, kind: ReviewKind | None = None, open: bool | None = None) -> Listing[Review]:
        where = Where().when("kind = %(kind)s", kind=kind).when("(resolved_at IS NULL) = %(open)s", open=open)
        return await listing(self.connection, COLUMNS, "reviews", where, page, from_row)


def from_row(row: Mapping[str, Any]) -> Review:
    values = {name: value for name, value in row.items() if name not in ("id", "kind")}
    return Review(kind=ReviewKind(row["kind"]), **values)
