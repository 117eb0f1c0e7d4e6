"""`python -m devstack.xano_server --port N --data DIR`."""

import re
import sys
from contextlib import closing

from devstack import serving
from devstack.xano_server.app import build
from devstack.xano_server.group import Group
from devstack.xano_server.store import Store

ABOUT = """A Xano-compatible server with one API group: tables orders and inventory, Xano's auto-made endpoints
with their traps, and POST /{table}/bulk_upsert and /bulk_delete. Every answer says X-Xano-Standin: 1.
Tests see and set it through /_devstack: health, requests, faults, events."""
ENVIRONMENT = """  DEVSTACK_XANO_API_KEY  required: the key that callers show as Authorization: Bearer <key>"""


def main() -> int:
    parser = serving.command_line("xano_server", ABOUT, ENVIRONMENT)
    parser.add_argument("--canonical", default="business", help="the group answers at /api:<canonical>/")
    options = parser.parse_args()
    if not re.fullmatch(r"[\w-]+", options.canonical):
        parser.error("--canonical takes letters, digits, _ and -")

    def start() -> None:
        api_key = serving.required("DEVSTACK_XANO_API_KEY")
        taken = serving.listen(options.port)
        store = Store(serving.data_folder(options.data) / "xano.sqlite3")
        with closing(store):
            group = Group(store=store, api_key=api_key, canonical=options.canonical)
            serving.serve(build(group), taken, "xano_server")

    return serving.run("xano_server", start)


if __name__ == "__main__":
    sys.exit(main())
