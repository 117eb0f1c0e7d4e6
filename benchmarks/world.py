"""Everything that is measured, on loopback: one Valkey, one PostgreSQL, and one process of each server.

Each part starts when it is first asked for, and all end with the `with` block, however it ends.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from devstack import parts
from devstack.process import ROOT, Part
from tests import services
from tests.functions.stack import Connect, Connected, connecting, first_admin
from tests.ingestion import ingestion
from tests.services import Service
from tests.shared_servers import create_database, in_database, migrate

AS_IN_PRODUCTION = {
    "OTEL_TRACES_SAMPLER_ARG": "5",
    "OTEL_METRIC_EXPORT_INTERVAL": "60000",
    "OTEL_BSP_SCHEDULE_DELAY": "5000",
    "OTEL_BLRP_SCHEDULE_DELAY": "5000",
}
"""What telemetry keeps and when it sends: the tests want all of it at once."""
HIGHEST_LIMIT = 1_000_000
MANY = 100
PREFIX = "pinksync-bench-"

EMPTY_APP = """\
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="empty", methods=["GET"])
async def empty(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(b"{}", mimetype="application/json")
"""
SDKS = "bcrypt cryptography httpx jsonschema orjson psycopg psycopg_pool pydantic redis.asyncio svix"
"""What the app cannot do without; it imports them at its start, so that no request waits for one."""
EMPTY_HOST = '{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}'


def schedules() -> Mapping[str, str]:
    """The timers run as often as the sample says for production; the devstack's run every second."""
    known: Mapping[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    return {name: value for name, value in known.items() if name.endswith("_SCHEDULE")}


@dataclass(eq=False)
class World:
    folder: Path
    running: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def postgres(self) -> Service:
        """Flushes to disk at each commit, as in production."""
        return self.started(services.start_postgres(self.folder, durable=True))

    @cached_property
    def valkey(self) -> Service:
        return self.started(services.start_valkey(self.folder))

    @cached_property
    def partner(self) -> Service:
        return self.started(services.start_partner(self.folder))

    @cached_property
    def svix(self) -> Service:
        return self.started(services.start_svix(self.folder))

    @cached_property
    def xano(self) -> Service:
        return self.started(services.start_xano(self.folder))

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """The app's, as the devstack has them, over the database and Redis of this run."""
        return services.app_environment(
            self.new_database("gateway"),
            in_database(self.valkey.url, "1"),
            SVIX_URL=self.svix.url,
            SVIX_TOKEN=self.svix.secret,
            XANO_API_URL=self.xano.url,
            XANO_API_KEY=self.xano.secret,
            AUDIT_STORAGE_CONNECTION_STRING="",
            ADMIN_RATE_LIMIT_PER_MINUTE=str(HIGHEST_LIMIT),
            **schedules(),
        )

    def new_database(self, name: str) -> str:
        """The URL of a new database with the gateway's schema."""
        create_database(self.postgres.url, name, template=self.migrated)
        return in_database(self.postgres.url, name)

    @cached_property
    def migrated(self) -> str:
        """The name of a database that nobody uses, so that it can be copied."""
        name = "migrated"
        create_database(self.postgres.url, name, template="template1")
        migrate(in_database(self.postgres.url, name), self.folder / "migrate.log")
        return name

    @cached_property
    def admin(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {first_admin(self.settings)}"}

    @cached_property
    def gateway(self) -> Service:
        known = {name: value for name, value in self.settings.items() if name != "PUBLIC_URL"}  # it knows its own
        return self.started(services.start_host(self.folder, known))

    @cached_property
    def watched(self) -> Service:
        """The same gateway with telemetry as in production: five traces a second are kept."""
        taken = self.running.enter_context(ingestion())
        known = {name: value for name, value in self.settings.items() if name != "PUBLIC_URL"}
        folder = self.folder / "watched"
        folder.mkdir()
        return self.started(services.start_host(folder, known | taken.environment | AS_IN_PRODUCTION))

    @cached_property
    def empty_root(self) -> Path:
        """An app with one function that does nothing: what the host itself costs."""
        return self.new_app("empty-app", EMPTY_APP)

    @cached_property
    def sdks_root(self) -> Path:
        """The same, with the libraries that PinkSync imports."""
        return self.new_app("sdks-app", f"import {SDKS.replace(' ', ', ')}\n{EMPTY_APP}")

    def new_app(self, name: str, source: str) -> Path:
        root = self.folder / name
        root.mkdir()
        (root / "function_app.py").write_text(source)
        (root / "host.json").write_text(EMPTY_HOST)
        return root

    @cached_property
    def empty(self) -> Service:
        seat = services.new_seat(self.folder, "empty")
        part = parts.python_part(
            "empty", "host with one empty function", seat, "functions_host", health="/empty", env={}
        )
        command = (sys.executable, "-m", "devstack.functions_host", "--app-root", str(self.empty_root))
        return self.started_part(replace(part, command=(*command, "--port", str(seat.port))))

    @cached_property
    def client(self) -> httpx.Client:
        return self.running.enter_context(httpx.Client(base_url=self.gateway.url, timeout=30, trust_env=False))

    @cached_property
    def connect(self) -> Connect:
        return connecting(self.client, dict(self.admin))

    @cached_property
    def busy_partner(self) -> Connected:
        """One partner with a limit that no measurement meets."""
        return self.connected("Busy")

    @cached_property
    def partners(self) -> Sequence[Connected]:
        """A hundred of them, each with a key."""
        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(self.connected, (f"Shop {number}" for number in range(MANY))))

    def connected(self, name: str, **more: Any) -> Connected:
        return self.connect(name=name, rate_limit_per_minute=HIGHEST_LIMIT, **more)

    def started(self, service: Service) -> Service:
        return self.running.enter_context(service)

    def started_part(self, part: Part) -> Service:
        return self.started(Service(part, parts.local_url(part.port)))


@contextmanager
def new_world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)  # for root, PostgreSQL runs as another account and must get to its data
    world = World(folder)
    try:
        with world.running:
            yield world
    finally:
        shutil.rmtree(folder, ignore_errors=True)
