"""The ids that a list shows, in order, without a list of them: a range of seeded ids, less some, plus some."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


class View:
    """`low` ids lie before the seeded range, `high` ids after it, `gone` ids inside it; all three ascend."""

    def __init__(self, seeded: range, *, low: Sequence[int], gone: Sequence[int], high: Sequence[int]) -> None:
        self._seeded = seeded
        self._low, self._gone, self._high = low, gone, high
        # How many seeded ids are left before each gone one: where the k-th one left lies is then one bisection.
        self._left_before = [number - seeded.start - before for before, number in enumerate(gone)]
        self._middle = len(seeded) - len(gone)

    def __len__(self) -> int:
        return len(self._low) + self._middle + len(self._high)

    def ids(self, start: int, stop: int) -> list[int]:
        return [self._at(place) for place in range(start, min(stop, len(self)))]

    def _at(self, place: int) -> int:
        if place < len(self._low):
            return self._low[place]
        place -= len(self._low)
        if place < self._middle:
            return self._seeded.start + place + bisect_right(self._left_before, place)
        return self._high[place - self._middle]

    def place_after(self, number: int) -> int:
        """How many ids of the view are `number` or less: where a reader who has seen `number` goes on."""
        seeded = max(0, min(number, self._seeded.stop - 1) - self._seeded.start + 1)
        inside = seeded - bisect_right(self._gone, number)
        return bisect_right(self._low, number) + inside + bisect_left(self._high, number + 1)
