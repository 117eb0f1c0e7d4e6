"""Every schedule on one page. A timer is only a wake-up: the rows in the store say what is owed."""

import logging

import azure.functions as func

from shared_code import gateway

bp = func.Blueprint()

logger = logging.getLogger("pinksync.timers")


@bp.timer_trigger(schedule="%OUTBOX_SCHEDULE%", arg_name="timer")
async def outbox_relay(timer: func.TimerRequest) -> None:
    """Sends what committed changes still owe to the webhook service."""
    done = await gateway.current().relay.drain()
    if done:
        logger.info("outbox_relay: %d items done", done)


@bp.timer_trigger(schedule="%INBOX_SCHEDULE%", arg_name="timer")
async def inbox_work(timer: func.TimerRequest) -> None:
    """Works what partners sent us."""
    done = await gateway.current().inbound.work()
    if done:
        logger.info("inbox_work: %d items finished", done)


@bp.timer_trigger(schedule="%RETENTION_SCHEDULE%", arg_name="timer")
async def retention_clear(timer: func.TimerRequest) -> None:
    """Clears payloads and answers whose time is over."""
    cleared = await gateway.current().retention.clear()
    if cleared:
        logger.info("retention_clear: %d payloads and answers cleared", cleared)


@bp.timer_trigger(schedule="%KEY_USE_SCHEDULE%", arg_name="timer")
async def key_use_flush(timer: func.TimerRequest) -> None:
    """Writes when keys were last used."""
    written = await gateway.current().key_use.flush()
    if written:
        logger.info("key_use_flush: %d keys written", written)


@bp.timer_trigger(schedule="%RECONCILE_SCHEDULE%", arg_name="timer")
async def delivery_reconcile(timer: func.TimerRequest) -> None:
    """Learns the outcome of deliveries that are not finished."""
    asked = await gateway.current().deliveries.reconcile()
    if asked:
        logger.info("delivery_reconcile: %d deliveries asked for", asked)
