"""One server of each kind for the whole test run: a pytest plugin, loaded by conftest.py.

A server is started when a test first asks for it, by a thread of the process that runs pytest, and is gone
when the run ends, however it ends. With xdist all workers share it: they find the thread by the environment.
Every database is a copy of a migrated one; every Redis URL has a number of its own, so use FLUSHDB, never
FLUSHALL, and remember that channels are common to all numbers.
"""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from pathlib import Path
from threading import Thread
from typing import ClassVar, Literal, NamedTuple, Self
from uuid import uuid4

import psutil
import psycopg
import pytest

from devstack.process import last_line, run_to_end, spawn
from tests import services

VARIABLE = "PINKSYNC_TEST_SERVERS"
PREFIX = "pinksync-test-"
type Kind = Literal["postgres", "migrated", "redis", "azurite", "svix", "xano", "partner"]


class Address(NamedTuple):
    url: str
    secret: str = ""
    """The API key or token the server takes, if any."""


class SharedServers:
    """Starts servers on request, in one thread: two requests never start the same one twice."""

    def __init__(self) -> None:
        self.folder = make_folder()
        self.key = secrets.token_bytes(16)
        self.listener = Listener(("127.0.0.1", 0), authkey=self.key)
        self.started: dict[str, services.Service] = {}
        self.running = ExitStack()
        self.redis_number = count(1)
        self.migrated = False
        self.thread = Thread(target=self.serve, name="test servers", daemon=True)

    @classmethod
    def open(cls) -> Self:
        servers = cls()
        os.environ[VARIABLE] = f"{servers.listener.address[1]} {servers.key.hex()}"
        servers.thread.start()
        return servers

    def close(self) -> None:
        ask("close")
        self.thread.join()
        self.listener.close()
        os.environ.pop(VARIABLE, None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self) -> None:
        request = ""
        while request != "close":
            with suppress(OSError, EOFError, AuthenticationError), self.listener.accept() as connection:
                request = connection.recv()
                connection.send(self.answer(request))

    def answer(self, request: str) -> Address | str:
        """An address, or in words why there is none."""
        try:
            return self.answers[request](self)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def service(self, name: str, start: Callable[[Path], services.Service]) -> services.Service:
        if name not in self.started:
            self.started[name] = self.running.enter_context(start(self.folder))
        return self.started[name]

    def stop_all(self) -> Address:
        self.running.close()
        return Address("")

    def postgres(self) -> Address:
        return Address(self.service("postgres", services.start_postgres).url)

    def migrated_template(self) -> Address:
        server = self.postgres()
        if not self.migrated:
            create_database(server.url, "migrated", template="template1")
            migrate(in_database(server.url, "migrated"), self.folder / "migrate.log")
            self.migrated = True
        return server

    def redis(self) -> Address:
        server = self.service("redis", services.start_valkey)
        number = next(self.redis_number) % services.REDIS_DATABASES
        return Address(in_database(server.url, str(number)))

    def azurite(self) -> Address:
        return Address(self.service("azurite", services.start_azurite).url)

    def svix(self) -> Address:
        server = self.service("svix", services.start_svix)
        return Address(server.url, server.secret)

    def xano(self) -> Address:
        server = self.service("xano", services.start_xano)
        return Address(server.url, server.secret)

    def partner(self) -> Address:
        server = self.service("partner", services.start_partner)
        return Address(server.url, server.secret)

    answers: ClassVar[dict[str, Callable[["SharedServers"], Address]]] = {
        "postgres": postgres,
        "migrated": migrated_template,
        "redis": redis,
        "azurite": azurite,
        "svix": svix,
        "xano": xano,
        "partner": partner,
        "close": stop_all,
    }


def make_folder() -> Path:
    """A folder for this run, named after its process; those of processes that are gone are removed."""
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = old.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)  # for root, PostgreSQL runs as another account and must get to its data
    return folder


def migrate(database_url: str, log: Path) -> None:
    command = [sys.executable, "-m", "scripts.migrate"]
    env = {"DATABASE_URL": database_url, "MIGRATION_DATABASE_URL": database_url}
    if run_to_end(spawn(command, log=log, env=env), timeout=60):
        raise RuntimeError(f"scripts.migrate failed: {last_line(log)}")


def create_database(server: str, name: str, template: str) -> None:
    with psycopg.connect(in_database(server, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())


def drop_database(server: str, name: str) -> None:
    with psycopg.connect(in_database(server, "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def in_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"


def ask(what: Kind | Literal["close"]) -> Address:
    """Where the shared server of a kind answers; it is started if need be."""
    if VARIABLE not in os.environ:
        raise RuntimeError('No shared servers: conftest.py needs pytest_plugins = ["tests.shared_servers"]')
    port, key = os.environ[VARIABLE].split()
    with Client(("127.0.0.1", int(port)), authkey=bytes.fromhex(key)) as connection:
        connection.send(what)
        answer = connection.recv()
    if isinstance(answer, str):
        raise RuntimeError(f"The shared {what} server cannot be had. {answer}")
    return answer


@contextmanager
def new_database(*, migrated: bool = True) -> Iterator[str]:
    """The URL of a database of one's own on the shared server, with the schema or empty."""
    server, name = ask("migrated" if migrated else "postgres").url, f"test_{uuid4().hex}"
    create_database(server, name, "migrated" if migrated else "template1")
    try:
        yield in_database(server, name)
    finally:
        drop_database(server, name)


SERVERS = pytest.StashKey[SharedServers]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "stack: starts all of `python -m devstack`; takes some seconds")
    if not hasattr(config, "workerinput"):  # with xdist: only where the workers come from
        config.stash[SERVERS] = SharedServers.open()


def pytest_unconfigure(config: pytest.Config) -> None:
    if servers := config.stash.get(SERVERS, None):
        servers.close()


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A migrated database for this test module."""
    with new_database() as url:
        yield url


@pytest.fixture(scope="module")
def redis_url() -> str:
    """An empty Redis database for this test module."""
    return ask("redis").url
