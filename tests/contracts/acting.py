"""Things done to a store by the tests of it: alone, apart from an open transaction, or many at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from datetime import timedelta
from typing import Any

from shared_code.model import (
    Attempt,
    Delivery,
    Endpoint,
    Event,
    Listing,
    Page,
    Partner,
)
from shared_code.ports import DeliveryFilter, Store, Transaction
from tests.contracts.samples import NOW, new_endpoint, new_event, new_partner

LEASE = timedelta(minutes=1)


async def stored_partner(store: Store, **changes: Any) -> Partner:
    partner = new_partner(**changes)
    async with store.transaction() as transaction:
        await transaction.partners.add(partner)
    return partner


async def opened_deliveries(store: Store, endpoints: Sequence[Endpoint], event: Event) -> Sequence[Delivery]:
    """The event stored, with a delivery to each of these endpoints that wants it."""
    async with store.transaction() as transaction:
        for endpoint in endpoints:
            if await transaction.endpoints.get(endpoint.endpoint_id) is None:
                await transaction.endpoints.add(endpoint)
        await transaction.events.add(event)
        await transaction.deliveries.open(event, max_attempts=8)
        await transaction.deliveries.sent([(event.partner_id, event.event_id)], event.created_at)
        wanted = DeliveryFilter(partner_id=event.partner_id, event_id=event.event_id)
        return (await transaction.deliveries.list(wanted, Page())).items


async def apart[T](work: Coroutine[Any, Any, T]) -> T:
    """Done as by another request: in none of the transactions that are open here."""
    return await asyncio.create_task(work, context=Context())


async def within[T](store: Store, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """The work in a transaction of its own (unless called in one)."""
    async with store.transaction() as transaction:
        return await work(transaction)


class Stop(Exception):
    """Anything that a service raises."""


@asynccontextmanager
async def undone(store: Store) -> AsyncIterator[Transaction]:
    """A transaction that fails when the block is through."""
    with suppress(Stop):
        async with store.transaction() as transaction:
            yield transaction
            raise Stop


async def at_once[T](store: Store, times: int, work: Callable[[Transaction], Awaitable[T]]) -> Sequence[T]:
    """The same work in that many transactions at the same time."""
    return await asyncio.gather(*(apart(within(store, work)) for _ in range(times)))


type Lister[Item] = Callable[[Page], Awaitable[Listing[Item]]]


async def by_cursor[Item](pages: Lister[Item], limit: int, between: Callable[[], Awaitable[object]]) -> list[Item]:
    """All items, page by page from position to position; something happens between the pages."""
    seen: list[Item] = []
    page = Page(limit=limit)
    while True:
        listing = await pages(page)
        seen.extend(listing.items)
        if listing.next is None:
            return seen
        page = Page(limit=limit, after=listing.next)
        await between()


async def by_offset[Item](pages: Lister[Item], limit: int) -> list[Item]:
    seen: list[Item] = []
    while True:
        listing = await pages(Page(limit=limit, offset=len(seen)))
        seen.extend(listing.items)
        if listing.next is None:
            assert listing.total == len(seen)
            return seen


async def nothing() -> None:
    """What happens between two pages when nothing does."""


async def one_delivery(store: Store, **changes: object) -> Delivery:
    partner = await stored_partner(store)
    endpoint, event = new_endpoint(partner.partner_id), new_event(partner.partner_id, **changes)
    (delivery,) = await opened_deliveries(store, [endpoint], event)
    return delivery


async def learn(store: Store, delivery: Delivery, attempts: list[Attempt], check_at=None) -> Delivery:
    await within(store, lambda transaction: transaction.deliveries.learn(delivery, attempts, check_at))
    return await known(store, delivery)


async def known(store: Store, delivery: Delivery) -> Delivery:
    async with store.reading() as reading:
        found = await reading.deliveries.get(delivery.id)
    assert found
    return found


async def due(store: Store, now=NOW, limit: int = 100) -> list[Delivery]:
    return list(await within(store, lambda transaction: transaction.deliveries.due(now, limit, LEASE)))
