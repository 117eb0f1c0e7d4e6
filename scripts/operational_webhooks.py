"""Tell Svix to send its operational webhooks here: `{PUBLIC_URL}/webhooks/svix`. Safe to repeat.

On Svix's cloud this is one call. A self-hosted server has no such call: there, an application of its management
organisation, named after the organisation that is watched, holds the endpoint (facts: Svix's README,
"Operational (incoming) webhooks"). Give the token of that organisation in SVIX_MANAGEMENT_TOKEN.

Environment: SVIX_TOKEN, SVIX_URL, PUBLIC_URL, and SVIX_OPERATIONAL_SECRET (`whsec_` and 24 to 64 random bytes in
base64): what Svix will sign with, and what the gateway checks.
"""

import argparse
import asyncio
import base64
import json
import os
import sys

import httpx
from svix.api import OperationalWebhookEndpointListOptions, SvixAsync, SvixOptions
from svix.exceptions import HttpError
from svix.models import ApplicationIn, EndpointIn, OperationalWebhookEndpointIn

UID = "pinksync-operational"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.operational_webhooks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    missing = [name for name in ("SVIX_TOKEN", "PUBLIC_URL", "SVIX_OPERATIONAL_SECRET") if not os.environ.get(name)]
    if missing:
        print(f"operational_webhooks: {', '.join(missing)} must be set", file=sys.stderr)
        return 1
    try:
        print(asyncio.run(set_up(os.environ.get("SVIX_MANAGEMENT_TOKEN"))))
    except (HttpError, httpx.HTTPError, ValueError) as error:
        print(f"operational_webhooks: Svix did not take it: {type(error).__name__}", file=sys.stderr)
        return 1
    return 0


async def set_up(management_token: str | None) -> str:
    url = os.environ["PUBLIC_URL"].rstrip("/") + "/webhooks/svix"
    secret = os.environ["SVIX_OPERATIONAL_SECRET"]
    options = SvixOptions(server_url=os.environ.get("SVIX_URL") or None)
    if management_token:
        await self_hosted(SvixAsync(management_token, options), url, secret)
    else:
        await on_cloud(SvixAsync(os.environ["SVIX_TOKEN"], options), url, secret)
    return f"Svix's operational webhooks go to {url}."


async def on_cloud(svix: SvixAsync, url: str, secret: str) -> None:
    listed = await svix.operational_webhook.endpoint.list(OperationalWebhookEndpointListOptions(limit=50))
    old = next((endpoint.id for endpoint in listed.data if endpoint.uid == UID), None)
    if old:
        await svix.operational_webhook.endpoint.delete(old)
    wanted = OperationalWebhookEndpointIn(url=url, uid=UID, secret=secret, description="PinkSync")
    await svix.operational_webhook.endpoint.create(wanted)


async def self_hosted(svix: SvixAsync, url: str, secret: str) -> None:
    organisation = watched_organisation(os.environ["SVIX_TOKEN"])
    await svix.application.get_or_create(ApplicationIn(name="PinkSync operations", uid=organisation))
    try:
        await svix.endpoint.delete(organisation, UID)
    except HttpError as error:
        if error.status_code != 404:
            raise
    await svix.endpoint.create(organisation, EndpointIn(url=url, uid=UID, secret=secret, description="PinkSync"))


def watched_organisation(token: str) -> str:
    """The `sub` of the gateway's own token; read, not verified: it is ours."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]


if __name__ == "__main__":
    sys.exit(main())
