"""Real servers, one at a time, for tests that stop, kill or fill them. What most tests want is in shared_servers.py.

with start_valkey(tmp_path) as valkey:
    valkey.kill()
    valkey.start()
"""

import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from devstack import parts, settings
from devstack.azurite import Azurite
from devstack.kept import PORTS, is_free
from devstack.postgres import Postgres
from devstack.process import Part, Process, start, wait_until_ready
from devstack.valkey import Valkey

REDIS_DATABASES = 4096
web = httpx.Client(verify=False, trust_env=False, timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
"""For servers on this machine. A client takes a while to make, as it reads all certificate authorities first."""
SHARES = 16


@dataclass(slots=True)
class Service:
    """A running server. Leaving the `with` block stops it."""

    part: Part
    url: str
    """The database, Redis or base URL; for Azurite the connection string."""
    secret: str = field(default="", repr=False)
    """The API key or token that the server takes, if any."""
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Also starts it again, on the same port and data, after stop() or kill()."""
        self.process = start(self.part)
        try:
            wait_until_ready(self.part, self.process)
        except BaseException:
            self.process.kill()
            raise

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """As in a crash: no last words, nothing flushed."""
        self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start_postgres(folder: Path, *, durable: bool = False) -> Service:
    """A server with an empty database; `durable` flushes to disk as in production."""
    log, password = folder / "postgres.log", secrets.token_urlsafe()
    server = Postgres(state=folder, port=free_port(), log=log, password=password, durable=durable)
    return Service(server.part(), server.url())


def start_valkey(folder: Path) -> Service:
    log, password = folder / "redis.log", secrets.token_urlsafe()
    server = Valkey(folder=folder / "redis", port=free_port(), log=log, password=password, databases=REDIS_DATABASES)
    return Service(server.part(), server.url())


def start_azurite(folder: Path) -> Service:
    server = Azurite(folder=folder / "azurite", port=free_port(), log=folder / "azurite.log", key=settings.random_key())
    return Service(server.part(), server.connection_string)


def start_secure_azurite(folder: Path, certificate: Path, key: Path) -> Service:
    """One that takes the tokens of an identity; its URL is the table endpoint."""
    log, pair = folder / "azurite.log", (certificate, key)
    server = Azurite(folder=folder / "azurite", port=free_port(), log=log, key=settings.random_key(), certificate=pair)
    return Service(server.part(), server.url)


def start_svix(folder: Path, *, retry: str = "1,2,4") -> Service:
    seat, jwt_secret = new_seat(folder, "svix"), secrets.token_urlsafe()
    return Service(parts.svix(seat, jwt_secret, retry), parts.local_url(seat.port), settings.svix_token(jwt_secret))


def start_xano(folder: Path) -> Service:
    seat, key = new_seat(folder, "xano"), secrets.token_urlsafe()
    return Service(parts.xano(seat, key), parts.xano_url(seat.port), key)


def start_partner(folder: Path) -> Service:
    seat, key = new_seat(folder, "partner"), secrets.token_urlsafe()
    return Service(parts.partner(seat, key), parts.local_url(seat.port), key)


def start_host(
    folder: Path, env: Mapping[str, str], *, health: str = "/api/health", public_url: str | None = None
) -> Service:
    """The Functions host with this app; `env` are the app's settings (`app_environment()` makes them).

    `public_url`: the address that it shares with other hosts, when it is not the only one.
    """
    seat, master_key = new_seat(folder, "host"), secrets.token_urlsafe()
    base_url = parts.local_url(seat.port)
    own = {"PUBLIC_URL": public_url or base_url, "DEVSTACK_MASTER_KEY": master_key}
    part = parts.host(seat, {**env, **own}, health=health)
    return Service(part, base_url, master_key)


def new_seat(folder: Path, name: str) -> parts.Seat:
    return parts.Seat(port=free_port(), data=folder / name, log=folder / f"{name}.log")


def free_port() -> int:
    """Nobody listens on it; and no other worker of pytest-xdist chooses from this one's share meanwhile."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw").removeprefix("gw") or -1) + 1
    share = PORTS[worker % SHARES :: SHARES]
    return next(port for port in iter(lambda: secrets.choice(share), None) if is_free(port))


def app_environment(database_url: str, redis_url: str, **changes: str) -> dict[str, str]:
    """All settings of the app, with new secrets; what is not given points at a port where nobody answers."""
    nobody = "http://127.0.0.1:9"
    nowhere = settings.Addresses(
        database_url=database_url,
        redis_url=redis_url,
        storage_connection_string=f"UseDevelopmentStorage=true;TableEndpoint={nobody}",
        svix_url=nobody,
        xano_url=nobody,
        partner_url=nobody,
    )
    made = settings.app_environment(settings.options({}), settings.Secrets(svix_token="none"), nowhere)
    return made | {"KEY_HASH_COST": "4"} | changes


def eventually[T](look: Callable[[], T | None], seconds: float = 30) -> T:
    """What `look` finds, as soon as it finds something."""
    began = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - began
        assert waited < seconds, "it did not happen in time"
        time.sleep(min(0.02 + waited / 20, 0.1))
    return found


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waited for yet counts."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
