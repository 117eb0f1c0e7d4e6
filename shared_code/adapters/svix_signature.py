"""Standard Webhooks signatures, checked with Svix's library on the raw bytes (facts/security.md 2.9; svix.md 0.6).

The library answers None, raises four kinds of error for garbage, and takes timestamps like `1_7`; so the
headers are matched by pattern before it sees them.
"""

import re
from collections.abc import Mapping
from datetime import datetime

from svix.webhooks import Webhook, WebhookVerificationError

MESSAGE_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}", re.ASCII)
TIMESTAMP = re.compile(r"[0-9]{10}", re.ASCII)
SIGNATURE = r"(v1,[A-Za-z0-9+/]{43}=|v(?!1,)[0-9a-z]{1,4},[A-Za-z0-9+/=]{1,128})"
"""One of ours, or one of a scheme that is none of our business, such as `v1a` or a `v2` to come."""
SIGNATURES = re.compile(f"{SIGNATURE}( {SIGNATURE}){{0,9}}", re.ASCII)
TOLERANCE_SECONDS = 300


def signed(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str | None:
    """The message's id, if this secret signed exactly this body within five minutes of now; else None."""
    found = one_set(headers)
    if found is None or abs(now.timestamp() - int(found["svix-timestamp"])) > TOLERANCE_SECONDS:
        return None
    try:
        Webhook(secret).verify(body, found)
    except (WebhookVerificationError, ValueError, RuntimeError):
        return None
    return found["svix-id"]


def one_set(headers: Mapping[str, str]) -> dict[str, str] | None:
    """`svix-*` or `webhook-*`, one of them whole and the other absent; each value in its form."""
    sets = [
        {f"svix-{name}": headers.get(f"{prefix}-{name}", "") for name in ("id", "timestamp", "signature")}
        for prefix in ("svix", "webhook")
    ]
    given = [values for values in sets if any(values.values())]
    if len(given) != 1:
        return None
    values = given[0]
    well_formed = (
        MESSAGE_ID.fullmatch(values["svix-id"])
        and TIMESTAMP.fullmatch(values["svix-timestamp"])
        and SIGNATURES.fullmatch(values["svix-signature"])
    )
    return values if well_formed else None
