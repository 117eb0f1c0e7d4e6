"""Readiness of the audit archive's storage: whether it lists its tables to the gateway."""

from shared_code.adapters.tables_audit_archive import Connect
from shared_code.model import Health


async def table_probe(connect: Connect) -> Health:
    async with await connect() as service:
        async for _table in service.list_tables(results_per_page=1):
            break
    return Health.OK
