"""The list of blueprints; nothing else. The Functions worker finds `app` here."""

import azure.functions as func

from functions import (
    api_keys,
    deliveries,
    events,
    inbound,
    metrics,
    oauth,
    operations,
    partners,
    resources,
    sync,
    sync_sources,
    timer_control,
    timers,
    webhooks,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for door in (
    partners,
    api_keys,
    webhooks,
    deliveries,
    events,
    inbound,
    oauth,
    resources,
    sync,
    sync_sources,
    operations,
    metrics,
    timers,
    timer_control,
):
    app.register_functions(door.bp)
