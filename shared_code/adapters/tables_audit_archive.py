"""The audit archive in Azure Table Storage: one table; a partition for each partner's month, newest row first.

azure-data-tables takes long to import, so that is left to the first use, in a thread.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from shared_code import errors
from shared_code.adapters.azure_identity import AzureIdentity
from shared_code.adapters.tables_audit_rows import Entity, stored, to_entity
from shared_code.model import AuditLink, ChainHead
from shared_code.model.archive import row_name
from shared_code.ports import AuditFilter, StoredLink

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient, TableServiceClient

TABLE = "auditarchive"
PATIENCE = 8.0
MOST_AT_ONCE = 100
"""Entities that one transaction of the service takes."""
MOST_BYTES = 1_500_000
"""Of their texts, counted roughly: the service takes 4 MiB of request."""
PAGE = 1000
CALM = {"retry_total": 2, "retry_backoff_factor": 0.2, "connection_timeout": 2, "read_timeout": 5}

type Connect = Callable[[], Awaitable[TableServiceClient]]


def by_connection_string(text: str) -> Connect:
    """With the account's key."""

    async def connect() -> "TableServiceClient":
        tables = await asyncio.to_thread(import_module, "azure.data.tables.aio")
        return tables.TableServiceClient.from_connection_string(text, **CALM)

    return connect


def by_identity(url: str, identity: AzureIdentity) -> Connect:
    """With a token of the gateway's identity."""

    async def connect() -> "TableServiceClient":
        tables = await asyncio.to_thread(import_module, "azure.data.tables.aio")
        return tables.TableServiceClient(url, credential=await identity.credential(), **CALM)

    return connect


@dataclass(slots=True, eq=False)
class TablesAuditArchive:
    connect: Connect = field(repr=False)
    name: str = TABLE
    _service: "TableServiceClient | None" = None
    _table: "TableClient | None" = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def put(self, links: Sequence[AuditLink]) -> None:
        for batch in batches(links):
            async with self._reached() as table:
                await table.submit_transaction([("upsert", to_entity(link), {"mode": "replace"}) for link in batch])

    async def read(
        self, head: ChainHead, wanted: AuditFilter, after: tuple[datetime, int] | None, limit: int
    ) -> Sequence[AuditLink]:
        found: list[AuditLink] = []
        async with self._reached() as table:
            condition, values = query(head, wanted, after)
            async for entity in table.query_entities(condition, parameters=values, results_per_page=min(limit, PAGE)):
                link = stored(entity).link
                if link and link.sequence <= head.sequence:
                    found.append(link)
                if len(found) == limit:
                    break
        return found

    async def count(self, head: ChainHead, wanted: AuditFilter, most: int) -> int:
        counted = 0
        async with self._reached() as table:
            condition, values = query(head, wanted, None)
            entities = table.query_entities(condition, parameters=values, select=["sequence"], results_per_page=PAGE)
            async for entity in entities:
                counted += entity["sequence"].value <= head.sequence
                if counted == most:
                    break
        return counted

    async def all(self) -> AsyncIterator[StoredLink]:
        pages: Any = None
        async with self._reached() as table:
            pages = table.list_entities(results_per_page=PAGE).by_page()
        while True:
            async with self._reached():
                page = [entity async for entity in await anext(pages, nothing())]
            if not page:
                return
            for entity in page:
                yield stored(entity)

    async def close(self) -> None:
        if self._service:
            await self._service.close()
        if self._table:
            await self._table.close()
        self._service = self._table = None

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator["TableClient"]:
        with translated():
            try:
                async with asyncio.timeout(PATIENCE):
                    yield await self._ready()
            except BaseException:
                self._table = None  # made anew at the next call, should it be gone
                raise

    async def _ready(self) -> "TableClient":
        async with self._opening:
            if self._table is None:
                self._service = self._service or await self.connect()
                self._table = await self._service.create_table_if_not_exists(self.name)
        return self._table


async def nothing() -> AsyncIterator[Any]:
    for item in ():
        yield item


def batches(links: Sequence[AuditLink]) -> Iterator[Sequence[AuditLink]]:
    batch: list[AuditLink] = []
    size = 0
    for link in links:
        if batch and (len(batch) == MOST_AT_ONCE or size + len(link.text) > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(link)
        size += len(link.text)
    if batch:
        yield batch


def query(head: ChainHead, wanted: AuditFilter, after: tuple[datetime, int] | None) -> tuple[str, Entity]:
    """The condition, and the values that it names: nothing given from outside is ever part of its text."""
    conditions = {
        "PartitionKey eq @partition": head.partition,
        "RowKey gt @after": row_name(*after) if after else None,
        "RowKey le @since": row_name(wanted.since, 0) if wanted.since else None,
        "RowKey gt @until": row_name(wanted.until, 0) if wanted.until else None,
        "severity eq @severity": wanted.severity.value if wanted.severity else None,
        "event_type eq @event_type": wanted.event_type,
        "request_id eq @request_id": wanted.request_id,
    }
    asked = {condition: value for condition, value in conditions.items() if value is not None}
    return " and ".join(asked), {condition.rpartition("@")[2]: value for condition, value in asked.items()}


@contextmanager
def translated() -> Iterator[None]:
    """The SDK's errors as ours, with the cause kept and its text left out."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (TimeoutError, OSError, foreign())):
            raise errors.ArchiveUnavailable(headers={"Retry-After": "5"}) from error
        raise


def foreign() -> type[Exception]:
    return import_module("azure.core.exceptions").AzureError
