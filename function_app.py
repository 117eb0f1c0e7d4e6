"""The list of blueprints; nothing else. The Functions worker finds `app` here."""

import azure.functions as func

from functions import api_keys, events, operations, partners, resources, timers, webhooks

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for blueprint in (partners.bp, api_keys.bp, webhooks.bp, events.bp, resources.bp, operations.bp, timers.bp):
    app.register_functions(blueprint)
