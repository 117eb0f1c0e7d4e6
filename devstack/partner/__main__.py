"""`python -m devstack.partner --port N --data DIR`."""

import sys
from contextlib import closing

from devstack import serving
from devstack.partner.app import build
from devstack.partner.database import open_database

ABOUT = """The example partner: a REST API with orders and inventory under /api, an OAuth server at /oauth
for any client, and a webhook receiver at /webhooks/{name} that verifies and keeps what arrives.
Tests see and set it through /_devstack: health, seed, touch, requests, faults, oauth/{client_id}."""
ENVIRONMENT = """  DEVSTACK_PARTNER_API_KEY  required: the key of the REST API, shown as X-API-Key, as ?api_key=,
                            as a bearer token, or as the password of the Basic user pinksync"""


def main() -> int:
    options = serving.command_line("partner", ABOUT, ENVIRONMENT).parse_args()

    def start() -> None:
        api_key = serving.required("DEVSTACK_PARTNER_API_KEY")
        taken = serving.listen(options.port)
        with closing(open_database(serving.data_folder(options.data) / "partner.sqlite3")) as database:
            serving.serve(build(database, api_key), taken, "partner")

    return serving.run("partner", start)


if __name__ == "__main__":
    sys.exit(main())
