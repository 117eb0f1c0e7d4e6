"""Every schedule on one page. A timer is only a wake-up: the rows in the store say what is owed."""

import azure.functions as func

from functions.timer import Gateway, timer

bp = func.Blueprint()


@timer(bp, "OUTBOX_SCHEDULE")
async def outbox_relay(gateway: Gateway) -> int:
    """Sends what committed changes still owe to the webhook service."""
    return await gateway.relay.drain()


@timer(bp, "INBOX_SCHEDULE")
async def inbox_work(gateway: Gateway) -> int:
    """Works what partners sent us."""
    return await gateway.inbound.work()


@timer(bp, "RECONCILE_SCHEDULE")
async def delivery_reconcile(gateway: Gateway) -> int:
    """Learns the outcome of deliveries that are not finished."""
    return await gateway.deliveries.reconcile()


@timer(bp, "KEY_USE_SCHEDULE")
async def key_use_flush(gateway: Gateway) -> int:
    """Writes when keys were last used."""
    return await gateway.key_use.flush()


@timer(bp, "RETENTION_SCHEDULE")
async def retention_clear(gateway: Gateway) -> int:
    """Clears what has been kept for its time."""
    return await gateway.retention.clear()


@timer(bp, "AUDIT_ARCHIVE_SCHEDULE")
async def audit_archive(gateway: Gateway) -> int:
    """Moves audit rows that are older than the hot window to the archive."""
    return await gateway.archiver.move()


@timer(bp, "REENCRYPT_SCHEDULE")
async def reencrypt(gateway: Gateway) -> int:
    """Moves stored secrets to the newest key of the ring."""
    return await gateway.reencryption.run()


@timer(bp, "TOKEN_REFRESH_SCHEDULE")
async def token_refresh(gateway: Gateway) -> int:
    """Keeps idle OAuth connections alive, and revokes what was disconnected."""
    return await gateway.token_upkeep.refresh_due()


@timer(bp, "SYNC_DISPATCH_SCHEDULE")
async def sync_dispatch(gateway: Gateway) -> int:
    """Starts the syncs whose time has come."""
    return await gateway.sync_sources.dispatch()


@timer(bp, "JOB_RUN_SCHEDULE", everywhere=True)
async def job_run(gateway: Gateway) -> int:
    """Works the jobs that are due."""
    return await gateway.sync_runner.run()


@timer(bp, "METRICS_SCHEDULE")
async def metrics_measure(gateway: Gateway) -> int:
    """Measures how things stand, for those who watch."""
    await gateway.metrics.measure()
    return 0
