"""Every sealed value of the store in memory, for the rotation of keys. A new field is one more line in the store."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared_code.adapters.memory_rows import View
from shared_code.model import SealedUnder, SealedValue


@dataclass(frozen=True, slots=True)
class Column:
    view: View[Any, Any]
    text: Callable[[Any], str | None]
    changed: Callable[[Any, str], Any]
    owner: Callable[[Any, Any], str]
    """(key, record) → whose value it is."""

    def values(self) -> Iterator[tuple[Any, SealedValue]]:
        """With their keys, in the order of their rows' numbers."""
        for key, row in sorted(self.view.numbered(), key=lambda item: item[1].number):
            text = self.text(row.record)
            if text is not None:
                yield key, SealedValue(place=f"{row.number:012}", owner=self.owner(key, row.record), text=text)


def of_partner(view: View[Any, Any], name: str) -> Column:
    """A field of records that say whose they are."""
    return Column(
        view,
        text=lambda record: getattr(record, name),
        changed=lambda record, text: replace(record, **{name: text}),
        owner=lambda _, record: str(record.partner_id),
    )


def of_replies(view: View[Any, Any]) -> Column:
    return Column(
        view,
        text=lambda kept: kept.reply.body_encrypted,
        changed=lambda kept, text: replace(kept, reply=replace(kept.reply, body_encrypted=text)),
        owner=lambda key, _: key[0],
    )


@dataclass(frozen=True, slots=True)
class MemorySealed:
    columns: Mapping[str, Column]

    async def kids(self) -> Collection[SealedUnder]:
        return list(await self.counts())

    async def counts(self) -> Mapping[SealedUnder, int]:
        return Counter(
            SealedUnder(field=field, kid=kid_of(value))
            for field, column in self.columns.items()
            for _, value in column.values()
        )

    async def hold(self, under: SealedUnder, after: str | None, limit: int) -> Sequence[SealedValue]:
        held: list[SealedValue] = []
        view = self.columns[under.field].view
        for key, value in self.columns[under.field].values():
            wanted = kid_of(value) == under.kid and value.place > (after or "")
            if wanted and len(held) < limit and view.take(key):
                held.append(value)
        return held

    async def put(self, field: str, values: Sequence[tuple[SealedValue, str]]) -> int:
        column, changed = self.columns[field], 0
        texts = {(value.place, value.text): text for value, text in values}
        for key, value in column.values():
            if text := texts.get((value.place, value.text)):
                column.view.put(key, column.changed(column.view.get(key), text))
                changed += 1
        return changed


def kid_of(value: SealedValue) -> str:
    return value.text.split(".")[1]
