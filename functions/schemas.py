"""What request and answer models share: strictness, times, pages."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic.json_schema import WithJsonSchema

from functions.replies import cursor, position, rfc3339
from shared_code.model import MOST_COUNTED, Listing, Page

LONGEST_OFFSET = 10_000
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)

type Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-02-26T18:23:00Z"]}),
]
"""RFC 3339, UTC, with `Z`."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""No control characters, and not only spaces."""
type Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=PRINTABLE)]
type Words = Annotated[str, StringConstraints(max_length=1000)]
type Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
type EventTypeName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
type ScopeName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
type Metadata = Annotated[dict[str, Any], Field(max_length=100)]
type RateLimit = Annotated[int, Field(ge=1, le=1_000_000)]
type Grace = Annotated[int, Field(ge=0, le=604_800)]


class RequestBody(BaseModel):
    """Unknown fields are refused, and nothing is guessed from another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AnswerBody(BaseModel):
    """Made from one of our records, by the names they share."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, record: object) -> Self:
        return cls.model_validate(record)


class PageQuery(BaseModel):
    limit: int = Field(default=50, ge=1, le=200, description="How many, 1 to 200.")
    offset: int = Field(default=0, ge=0, le=LONGEST_OFFSET, description="How many to skip. Deeper, use `cursor`.")
    cursor: str | None = Field(default=None, max_length=200, description="`next_cursor` of the page before.")

    def page(self) -> Page:
        return Page(limit=self.limit, offset=self.offset, after=position(self.cursor) if self.cursor else None)


class PeriodQuery(PageQuery):
    since: AwareDatetime | None = Field(default=None, description="Not before this time (RFC 3339).")
    until: AwareDatetime | None = Field(default=None, description="Before this time (RFC 3339).")


class ListAnswer(BaseModel):
    """What every list answers, beside the list itself."""

    total: int = Field(description="How many there are in all, counted up to 10,000.")
    total_is_exact: bool = Field(description="False when there are more than were counted.")
    limit: int
    offset: int
    next_cursor: str | None

    @classmethod
    def listing[Item](cls, plural: str, found: Listing[Item], page: Page, show: Callable[[Item], BaseModel]) -> Self:
        """`{"<plural>": [...], "total": n, "limit": n, "offset": n, "next_cursor": ...}`."""
        items: Sequence[BaseModel] = [show(item) for item in found.items]
        values: dict[str, Any] = {
            plural: items,
            "total": min(found.total, MOST_COUNTED - 1),
            "total_is_exact": found.exact and found.total < MOST_COUNTED,
            "limit": page.limit,
            "offset": page.offset,
            "next_cursor": cursor(found.next),
        }
        return cls(**values)

    @classmethod
    def cut[Item](cls, plural: str, items: Sequence[Item], page: Page, show: Callable[[Item], BaseModel]) -> Self:
        """The same of a short list that is here as a whole; its cursor holds how many items came before."""
        start = page.after[1] if page.after else page.offset
        end = start + page.limit
        more = (BEGINNING, end) if end < len(items) else None
        return cls.listing(plural, Listing(items=items[start:end], total=len(items), next=more), page, show)
