"""The counts of all processes together, and what the store knows that no process counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from shared_code.telemetry import Name

type Counts = Mapping[Name, float]


class SharedCounts(Protocol):
    async def add(self, deltas: Counts, day: date) -> bool:
        """Adds to everyone's counts, since ever and of that day. False if that failed: give them again."""
        ...

    async def since_ever(self) -> Counts | None:
        """None: they cannot be read now."""
        ...

    async def of_day(self, day: date) -> Counts | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What stands in the store at one moment. All but the partners are counted up to ten thousand."""

    active_partners: int
    outbox_owed: int
    outbox_buried: int
    outbox_age_seconds: float
    """How long the oldest debt that is due has been owed."""
    inbox_owed: int
    reviews_open: int
    deliveries_unfinished: int


class FigureBook(Protocol):
    async def read(self) -> Figures: ...
