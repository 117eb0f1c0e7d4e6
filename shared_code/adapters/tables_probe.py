"""Readiness of the audit archive's storage, which the gateway does not write to yet."""

import asyncio
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from shared_code.adapters.azure_identity import AzureIdentity
from shared_code.model import Health

if TYPE_CHECKING:
    from azure.data.tables.aio import TableServiceClient


async def table_probe(connection_string: str) -> Health:
    tables = await loaded()
    return await asked(tables.TableServiceClient.from_connection_string(connection_string))


async def table_probe_at(url: str, identity: AzureIdentity) -> Health:
    """The same with a token of the gateway's identity."""
    tables = await loaded()
    return await asked(tables.TableServiceClient(url, credential=await identity.credential()))


async def loaded() -> ModuleType:
    return await asyncio.to_thread(import_module, "azure.data.tables.aio")  # heavy, and needed here alone


async def asked(client: "TableServiceClient") -> Health:
    async with client:
        async for _table in client.list_tables(results_per_page=1):
            break
    return Health.OK
