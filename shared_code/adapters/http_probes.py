"""Readiness questions to services that the gateway otherwise only forwards to or archives in."""

import asyncio
from importlib import import_module

import httpx

from shared_code.model import Health

PATIENCE = 1.5


async def http_probe(url: str) -> Health:
    """Whatever it answers below 500, it is there."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
        answer = await client.get(url)
    return Health.OK if answer.status_code < 500 else Health.DEGRADED


async def table_probe(connection_string: str) -> Health:
    tables = await asyncio.to_thread(import_module, "azure.data.tables.aio")  # heavy, and needed here alone
    async with tables.TableServiceClient.from_connection_string(connection_string) as client:
        async for _table in client.list_tables(results_per_page=1):
            break
    return Health.OK
