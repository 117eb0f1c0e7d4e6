"""What a stack remembers and tells: its options, secrets and ports, the app's environment, the credentials file."""

import base64
import json
import secrets as random_source
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from devstack.kept import read_json, write_private
from devstack.process import StackError
from shared_code.services import key_format

ADMIN_EMAIL = "admin@pinksync.local"
SVIX_RETRY = "1,2,4,8,16,30,60"
EVERY_SECOND = "*/1 * * * * *"
EVERY_MINUTE = "0 * * * * *"
EVERY_HOUR = "0 17 * * * *"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the person who starts the stack may choose."""

    folder: Path
    gateway_port: int
    restart_seconds: float
    svix_retry: str
    with_demo: bool

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def credentials_file(self) -> Path:
        return self.folder / "credentials.json"

    @property
    def secrets_file(self) -> Path:
        return self.folder / "secrets.json"

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"


def options(environ: Mapping[str, str], *, with_demo: bool = True) -> Options:
    return Options(
        folder=Path(environ.get("DEVSTACK_DIR") or ".devstack").expanduser().resolve(),
        gateway_port=port_number(environ.get("PINKSYNC_PORT") or "7071"),
        restart_seconds=seconds(environ.get("DEVSTACK_RESTART_SECONDS") or "10"),
        svix_retry=retry_schedule(environ.get("DEVSTACK_SVIX_RETRY") or SVIX_RETRY),
        with_demo=with_demo and environ.get("DEVSTACK_DEMO", "1") not in ("0", "false", "no"),
    )


def port_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65_536:
        raise StackError(f"PINKSYNC_PORT must be a port number from 1 to 65535, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise StackError(f"DEVSTACK_RESTART_SECONDS must be a number of seconds, not {text!r}")
    return value


def retry_schedule(text: str) -> str:
    if not all(part.strip().isascii() and part.strip().isdigit() for part in text.split(",")):
        raise StackError(f"DEVSTACK_SVIX_RETRY must be whole seconds with commas, like 1,2,4, not {text!r}")
    return text


def random_key() -> str:
    return base64.b64encode(random_source.token_bytes(32)).decode()


def keyring() -> str:
    return json.dumps({"k1": random_key()})


def api_key() -> str:
    return key_format.mint("live").text


def made_by(maker: Callable[[], str]) -> str:
    return field(default_factory=maker, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Made once per state folder; every field a text."""

    admin_api_key: str = made_by(api_key)
    admin_password: str = made_by(random_source.token_urlsafe)
    postgres_password: str = made_by(random_source.token_urlsafe)
    redis_password: str = made_by(random_source.token_urlsafe)
    storage_key: str = made_by(random_key)
    key_pepper: str = made_by(random_key)
    cache_key: str = made_by(random_key)
    token_keyring: str = made_by(keyring)
    metrics_token: str = made_by(random_source.token_urlsafe)
    master_key: str = made_by(random_source.token_urlsafe)
    svix_jwt_secret: str = made_by(random_source.token_urlsafe)
    svix_token: str = field(default="", repr=False)
    """Signed with the secret above; kept, so that it stays the same as long as the secret does."""
    svix_operational_secret: str = made_by(lambda: "whsec_" + random_key())
    xano_api_key: str = made_by(random_source.token_urlsafe)
    partner_api_key: str = made_by(random_source.token_urlsafe)


def kept_secrets(path: Path) -> Secrets:
    """The secrets of this state folder: read, completed with what a newer version needs, and kept."""
    known = read_json(path)
    names = {each.name for each in fields(Secrets)}
    kept = Secrets(**{name: str(value) for name, value in known.items() if name in names})
    if not kept.svix_token:
        kept = replace(kept, svix_token=svix_token(kept.svix_jwt_secret))
    if asdict(kept) != known:
        keep_secrets(path, kept)
    return kept


def keep_secrets(path: Path, kept: Secrets) -> None:
    write_private(path, asdict(kept))


def svix_token(jwt_secret: str) -> str:
    from devstack.svix_server.auth import org_token

    return org_token(jwt_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the services of one stack answer."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    storage_connection_string: str = field(repr=False)
    svix_url: str
    xano_url: str
    partner_url: str


def app_environment(chosen: Options, kept: Secrets, at: Addresses) -> dict[str, str]:
    """The app's settings, as local.settings.json would hold them under `Values`."""
    return {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "ENVIRONMENT": "development",
        "PUBLIC_URL": chosen.base_url,
        "DATABASE_URL": at.database_url,
        "REDIS_URL": at.redis_url,
        "SVIX_URL": at.svix_url,
        "SVIX_TOKEN": kept.svix_token,
        "XANO_API_URL": at.xano_url,
        "XANO_API_KEY": kept.xano_api_key,
        "AUDIT_STORAGE_CONNECTION_STRING": at.storage_connection_string,
        "KEY_PEPPER": kept.key_pepper,
        "CACHE_KEY": kept.cache_key,
        "TOKEN_KEYRING": kept.token_keyring,
        "METRICS_TOKEN": kept.metrics_token,
        "SVIX_OPERATIONAL_SECRET": kept.svix_operational_secret,
        "KEY_MODE": "live",
        "KEY_HASH_COST": "10",
        "ALLOW_LOOPBACK_EGRESS": "true",
        "WEBHOOK_MAX_ATTEMPTS": str(chosen.svix_retry.count(",") + 2),
        "AUTH_FAILURES_PER_MINUTE": "1000",
        "ADDRESS_RATE_LIMIT_PER_MINUTE": "60000",
        "OUTBOX_SCHEDULE": EVERY_SECOND,
        "RECONCILE_SCHEDULE": EVERY_SECOND,
        "INBOX_SCHEDULE": EVERY_SECOND,
        "SYNC_SLICE_SECONDS": "20",
        "SYNC_LEASE_SECONDS": "5",
        "SYNC_BACKOFF_SECONDS": "1",
        "SYNC_DISPATCH_SCHEDULE": EVERY_SECOND,
        "JOB_RUN_SCHEDULE": EVERY_SECOND,
        "KEY_USE_SCHEDULE": EVERY_MINUTE,
        "METRICS_SCHEDULE": EVERY_MINUTE,
        "RETENTION_SCHEDULE": EVERY_HOUR,
        "TOKEN_REFRESH_SCHEDULE": EVERY_MINUTE,
        "AUDIT_ARCHIVE_SCHEDULE": EVERY_HOUR,
        "REENCRYPT_SCHEDULE": EVERY_HOUR,
    }


def credentials(chosen: Options, kept: Secrets, at: Addresses, processes: Mapping[str, int]) -> dict[str, object]:
    """What the credentials file tells whoever wants to use or watch this stack."""
    return {
        "base_url": chosen.base_url,
        "admin_api_key": kept.admin_api_key,
        "admin_email": ADMIN_EMAIL,
        "admin_password": kept.admin_password,
        **asdict(at),
        "svix_token": kept.svix_token,
        "xano_api_key": kept.xano_api_key,
        "partner_api_key": kept.partner_api_key,
        "processes": dict(processes),
    }
