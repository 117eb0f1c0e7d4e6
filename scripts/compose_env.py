"""Write what docker-compose.yml needs: `python -m scripts.compose_env [--folder .]`.

.env gets a random secret for each service; local.settings.json gets the settings of an app that uses those services.
Both are for this machine alone (mode 0600), and a file that is there already is kept as it is.
Exit code 0: both are there. 1: something cannot be written, and one line says why.
"""

import argparse
import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack.svix_server.auth import org_token

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "local.settings.sample.json"
SECRETS = (
    "POSTGRES_PASSWORD", "APP_PASSWORD", "SVIX_DB_PASSWORD", "REDIS_PASSWORD", "SVIX_JWT_SECRET", "PGADMIN_PASSWORD",
    "DEVSTACK_XANO_API_KEY",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        write_both(options.folder)
    except (OSError, ValueError) as problem:
        print(f"Cannot write the environment: {problem}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        prog="python -m scripts.compose_env",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--folder", type=Path, default=ROOT, help="where the two files go (default: %(default)s)")
    return made


def write_both(folder: Path) -> None:
    environment = folder / ".env"
    write_once(environment, "".join(f"{name}={value}\n" for name, value in made_up().items()))
    settings = local_settings(read_environment(environment))
    write_once(folder / "local.settings.json", json.dumps(settings, indent=2) + "\n")


def made_up() -> dict[str, str]:
    return {name: secrets.token_urlsafe(32) for name in SECRETS} | {"AZURITE_KEY": random_key()}


def random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def write_once(path: Path, text: str) -> None:
    """Readable by its owner only, from the first moment on."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{path.name} is there already; kept.")
        return
    with os.fdopen(handle, "w") as file:
        file.write(text)
    print(f"{path.name} written.")


def read_environment(path: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    values = {name.strip(): value.strip() for name, _, value in lines}
    missing = [name for name in (*SECRETS, "AZURITE_KEY") if not values.get(name)]
    if missing:
        raise ValueError(f"{path.name} lacks {', '.join(missing)}")
    return values


def local_settings(env: Mapping[str, str]) -> dict[str, object]:
    """The sample's settings, with the addresses and secrets of the containers."""
    sample = json.loads(SAMPLE.read_text())
    storage = storage_connection(env["AZURITE_KEY"])
    values = {
        "AzureWebJobsStorage": storage,
        "DATABASE_URL": f"postgresql://pinksync:{env['APP_PASSWORD']}@127.0.0.1:5432/pinksync",
        "REDIS_URL": f"redis://:{env['REDIS_PASSWORD']}@127.0.0.1:6379/0",
        "SVIX_URL": "http://127.0.0.1:8071",
        "SVIX_TOKEN": org_token(env["SVIX_JWT_SECRET"]),
        "SVIX_OPERATIONAL_SECRET": f"whsec_{random_key()}",
        "XANO_API_KEY": env["DEVSTACK_XANO_API_KEY"],
        "AUDIT_STORAGE_CONNECTION_STRING": storage,
        "KEY_PEPPER": random_key(),
        "CACHE_KEY": random_key(),
        "TOKEN_KEYRING": json.dumps({"k1": random_key()}),
        "METRICS_TOKEN": secrets.token_urlsafe(32),
    }
    return {**sample, "Values": {**sample["Values"], **values}}


def storage_connection(key: str) -> str:
    ports = {"Blob": 10000, "Queue": 10001, "Table": 10002}
    endpoints = "".join(f"{kind}Endpoint=http://127.0.0.1:{port}/pinksync;" for kind, port in ports.items())
    return f"DefaultEndpointsProtocol=http;AccountName=pinksync;AccountKey={key};{endpoints}"


if __name__ == "__main__":
    sys.exit(main())
