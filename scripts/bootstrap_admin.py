"""Make the first admin of an installation: a person who may sign in, and an admin API key.

There is no default account or password anywhere; both come from the environment, or are made here and
printed once. Safe to repeat: what is there already stays as it is.

Environment: the app's own settings (see local.settings.sample.json), and optionally
  PINKSYNC_BOOTSTRAP_PASSWORD   the admin's password (15 characters or more)
  PINKSYNC_BOOTSTRAP_API_KEY    the admin's API key, if it was made elsewhere; the way back when all are lost
"""

import argparse
import asyncio
import json
import os
import secrets
import sys

from shared_code import gateway
from shared_code.errors import PinkSyncError
from shared_code.services.bootstrap import FirstAdmin
from shared_code.settings import SettingsError


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bootstrap_admin",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--email", required=True, help="the admin's e-mail address, in lower case")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    wanted = parser.parse_args()
    given = os.environ.get("PINKSYNC_BOOTSTRAP_PASSWORD")
    password = given or secrets.token_urlsafe(24)
    try:
        admin = asyncio.run(bootstrap(wanted.email, password))
    except (PinkSyncError, SettingsError) as error:
        print(f"bootstrap_admin: {error}", file=sys.stderr)
        return 1
    report(admin, None if given else password, as_json=wanted.json)
    return 0


async def bootstrap(email: str, password: str) -> FirstAdmin:
    house = await gateway.current()
    try:
        return await house.bootstrap.first_admin(email, password, os.environ.get("PINKSYNC_BOOTSTRAP_API_KEY"))
    finally:
        await house.close()


def report(admin: FirstAdmin, password: str | None, *, as_json: bool) -> None:
    told = {"email": admin.email, "key_id": admin.key_id, "created": admin.created, "api_key": admin.api_key}
    if admin.password_set and password:
        told["password"] = password
    if as_json:
        print(json.dumps(told))
    elif not admin.created:
        print(f"The admin {admin.key_id or admin.email} is there already; nothing was changed.")
    else:
        print("The first admin was made. These secrets are shown this once:")
        print(
            "\n".join(f"  {name}: {value}" for name, value in told.items() if name in ("email", "api_key", "password"))
        )


if __name__ == "__main__":
    sys.exit(main())
