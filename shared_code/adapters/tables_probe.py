"""Readiness of the audit archive's storage, which the gateway does not write to yet."""

import asyncio
from importlib import import_module

from shared_code.model import Health


async def table_probe(connection_string: str) -> Health:
    tables = await asyncio.to_thread(import_module, "azure.data.tables.aio")  # heavy, and needed here alone
    async with tables.TableServiceClient.from_connection_string(connection_string) as client:
        async for _table in client.list_tables(results_per_page=1):
            break
    return Health.OK
