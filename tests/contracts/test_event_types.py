"""ports.EventTypes."""

from dataclasses import replace

import pytest

from shared_code import errors
from shared_code.ports import Store
from tests.contracts.acting import at_once, within
from tests.contracts.samples import NOW, SECOND, new_event_type

EXAMPLES = (None, {"a": [1, 2.5, None]}, [1, "two"], "text", 3, 1.5, True, False)


async def test_an_event_type_is_found_as_it_was_put(store: Store):
    known = [new_event_type(f"kind.{index}", example=example) for index, example in enumerate(EXAMPLES)]
    known.append(new_event_type("bare", description="", schema=None, example=None, deprecated=True))
    async with store.transaction() as transaction:
        for event_type in known:
            await transaction.event_types.put(event_type)
    async with store.reading() as reading:
        for event_type in known:
            assert await reading.event_types.get(event_type.name) == event_type
        assert await reading.event_types.get("unknown") is None


async def test_putting_again_changes_all_but_the_birth(store: Store):
    first = new_event_type()
    again = replace(
        first,
        description="other",
        schema=None,
        example=["other"],
        deprecated=True,
        created_at=NOW + SECOND,
        updated_at=NOW + SECOND,
    )
    for event_type in (first, again):
        await within(store, lambda transaction, event_type=event_type: transaction.event_types.put(event_type))
    async with store.reading() as reading:
        assert await reading.event_types.get(first.name) == replace(again, created_at=NOW)


async def test_twins_at_once_make_one_event_type(store: Store):
    await at_once(store, 10, lambda transaction: transaction.event_types.put(new_event_type()))
    async with store.reading() as reading:
        assert await reading.event_types.list() == [new_event_type()]


async def test_the_list_is_in_the_order_of_names(store: Store):
    names = ["stock.updated", "Order.created", "order.created", "order_created", "a-b", "a.b", "z"]
    async with store.transaction() as transaction:
        for name in names:
            await transaction.event_types.put(new_event_type(name))
    async with store.reading() as reading:
        assert [event_type.name for event_type in await reading.event_types.list()] == sorted(names)


@pytest.mark.parametrize("name", ["", "with space", "umlaut.ü", "new\nline", "a" * 129, "trailing\n", "a/b"])
async def test_a_name_that_the_webhook_service_would_refuse_is_refused(store: Store, name: str):
    with pytest.raises(errors.InvalidBody):
        await within(store, lambda transaction: transaction.event_types.put(new_event_type(name)))


async def test_the_longest_name_and_every_kind_of_character_are_taken(store: Store):
    for name in ("a" * 128, "Order-1_2.created"):
        await within(store, lambda transaction, name=name: transaction.event_types.put(new_event_type(name)))
    async with store.reading() as reading:
        assert len(await reading.event_types.list()) == 2
