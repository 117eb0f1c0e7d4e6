"""Settings, read once from the environment into one frozen object. What is missing or bad is named, all at once."""

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from shared_code.version import packaged

LEAST_KEY_HASH_COST = 10
WORD = re.compile(r"[a-z][a-z0-9_\-]{0,63}")
SECRETS = (
    "KEY_PEPPER",
    "CACHE_KEY",
    "TOKEN_KEYRING",
    "SVIX_TOKEN",
    "SVIX_OPERATIONAL_SECRET",
    "XANO_API_KEY",
    "METRICS_TOKEN",
)
"""The secret ones. What the environment lacks of them the Key Vault is asked for: KEY_PEPPER as `key-pepper`."""


class SettingsError(Exception):
    """The environment lacks settings or has bad ones. The message names each, and never shows a value."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("PinkSync cannot start: " + "; ".join(faults))
        self.faults = faults


class Auth(StrEnum):
    """How the gateway proves itself to a server: by the password in its URL, or by a token of its Entra identity."""

    PASSWORD = "password"  # noqa: S105 - the name of a way
    ENTRA = "entra"


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How many days things are kept after they are over (services/retention.py)."""

    payload_days: int
    """Events' payloads, and what endpoints answered."""
    event_days: int
    """Events with their deliveries and attempts; never before the payload is cleared."""
    outbox_days: int
    inbox_days: int
    """A partner's message that comes again after this is taken for a new one."""
    record_days: int
    """How new each business record is, after the last event of it: one that comes later than this may overwrite what
    is newer. And what syncs knew of a partner's records, and its OAuth client, after the partner was removed.
    """
    review_days: int
    job_days: int
    timer_run_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times are in seconds unless the name says otherwise; keys are 32 raw bytes."""

    environment: Environment
    public_url: str
    database_url: str = field(repr=False)
    database_auth: Auth
    redis_url: str = field(repr=False)
    redis_auth: Auth
    svix_url: str | None
    svix_token: str = field(repr=False)
    svix_operational_secret: str | None = field(repr=False)
    """What Svix signs its operational webhooks with; without it they are refused."""
    xano_api_url: str
    xano_api_key: str = field(repr=False)
    audit_storage_connection_string: str | None = field(repr=False)
    audit_storage_url: str | None
    """The table endpoint of the storage account, reached with the gateway's Entra identity."""
    key_pepper: bytes = field(repr=False)
    cache_key: bytes = field(repr=False)
    token_keyring: Mapping[str, bytes] = field(repr=False)
    """kid → key, newest first: the first one encrypts, all decrypt."""
    front_door_id: str | None
    """Of the one Front Door that requests must have come through; None: from anywhere."""
    metrics_token: str | None = field(repr=False)
    """What monitoring tools present to read /metrics; without it only an admin key may."""
    telemetry_connection_string: str | None = field(repr=False)
    """Of Application Insights; without it nothing is sent."""
    key_mode: str
    """`live` or `test`: which API keys this deployment makes and takes."""
    key_hash_cost: int
    """Of bcrypt, for API keys made from now on: one more doubles the time. Less than 10 is for tests alone."""
    admin_rate_limit_per_minute: int
    auth_failures_per_minute: int
    """Wrong keys that one address may try a minute; what comes after costs no bcrypt."""
    address_rate_limit_per_minute: int
    """Requests without a proven key that one address may make a minute, per process."""
    resources: frozenset[str]
    """Business resources that partners may reach under /api/v1."""
    resource_cache_seconds: int
    """How long a read of one is kept when the backend does not say."""
    xano_data_source: str | None
    allow_loopback_egress: bool
    """Only the devstack sets this: http and loopback addresses are then allowed as partners' URLs."""
    database_pool_size: int
    kept: Kept
    audit_hot_days: int
    """Audit rows older than this move to the archive."""
    schedules: Mapping[str, str]
    """Setting → NCRONTAB, of every setting named *_SCHEDULE: what the Functions host wakes the timers by."""
    webhook_max_attempts: int
    """Attempts Svix makes before it gives up: one more than its retry schedule has entries."""
    sync_slice_seconds: int
    """How long one run of the job runner works, at most; well below the platform's own limit."""
    sync_lease_seconds: int
    """How long a job waits for a worker that died."""
    sync_backoff_seconds: int
    """Before the first new try of a page that failed; doubled with each."""
    sync_jobs_at_once: int
    sync_disable_failures: int
    sync_disable_days: int
    """A source that failed so often in a row, for so long, is switched off."""
    version: str

    def secrets(self) -> set[str]:
        """Every secret text in here, for whoever must keep them out of sight."""
        keys = {b64encode(key).decode() for key in (self.key_pepper, self.cache_key, *self.token_keyring.values())}
        passwords = {unquote(urlsplit(url).password or "") for url in (self.database_url, self.redis_url)}
        storage = {
            part.partition("=")[2]
            for part in (self.audit_storage_connection_string or "").split(";")
            if part.startswith(("AccountKey=", "SharedAccessSignature="))
        }
        plain = {self.svix_token, self.svix_operational_secret, self.xano_api_key, self.metrics_token}
        return {text for text in keys | passwords | storage | plain if text}


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """What must be known before any secret can be read."""

    client_id: str | None
    """Of the app's user-assigned identity; without it the system-assigned one."""
    key_vault_uri: str | None
    refresh_seconds: int
    """How old a secret may become before the vault is asked again."""


@dataclass(slots=True)
class Reader:
    """Reads one variable at a time and collects the faults, so that all are reported together."""

    environ: Mapping[str, str]
    faults: list[str] = field(default_factory=list[str])

    def text(self, name: str, default: str | None = None) -> str:
        value = self.environ.get(name, "").strip()
        if value.startswith("@Microsoft.KeyVault("):
            self.faults.append(f"{name} is an unresolved Key Vault reference")
        elif not value and default is None:
            self.faults.append(f"{name} is missing")
        return value or default or ""

    def optional(self, name: str) -> str | None:
        return self.text(name, default="") or None

    def parsed[T](self, name: str, parse: Callable[[str], T], rule: str, default: str | None = None) -> T | None:
        value = self.text(name, default)
        if not value:
            return None
        try:
            return parse(value)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.faults.append(f"{name} must be {rule}")
            return None

    def number(self, name: str, default: int, low: int = 1, high: int = 10_000_000) -> int:
        def parse(value: str) -> int:
            number = int(value)
            if not low <= number <= high:
                raise ValueError(value)
            return number

        return self.parsed(name, parse, f"a whole number from {low} to {high}", str(default)) or 0

    def words(self, name: str, default: str) -> frozenset[str]:
        def parse(value: str) -> frozenset[str]:
            words = frozenset(word.strip() for word in value.split(","))
            if not all(WORD.fullmatch(word) for word in words):
                raise ValueError(value)
            return words

        return self.parsed(name, parse, "words of a-z, 0-9, _ and -, with commas", default) or frozenset()

    def flag(self, name: str) -> bool:
        words = {"true": True, "1": True, "false": False, "0": False}
        return self.parsed(name, lambda value: words[value.lower()], "true or false", "false") or False

    def auth(self, name: str, url: str) -> Auth:
        chosen = self.parsed(name, Auth, "password or entra", "password") or Auth.PASSWORD
        if chosen is Auth.ENTRA:
            parts = urlsplit(self.environ.get(url, ""))
            if parts.password is not None:
                self.faults.append(f"{url} must have no password, as {name} is entra")
        return chosen

    def key(self, name: str) -> bytes:
        return self.parsed(name, key_bytes, "32 bytes in base64") or b""

    def keyring(self, name: str) -> Mapping[str, bytes]:
        return self.parsed(name, keyring, 'JSON like {"k2": "<32 bytes, base64>", "k1": ...}, newest first') or {}


def key_bytes(value: str) -> bytes:
    """Base64 of exactly 32 bytes; anything else is a ValueError."""
    try:
        raw = b64decode(value, validate=True)
    except Base64Error as error:
        raise ValueError("not base64") from error
    if len(raw) != 32:
        raise ValueError("not 32 bytes")
    return raw


def keyring(value: str) -> Mapping[str, bytes]:
    keys = {str(kid): key_bytes(key) for kid, key in json.loads(value).items()}
    if not keys or not all(kid.isalnum() for kid in keys):
        raise ValueError("empty, or a key id that is not letters and digits")
    return keys


def one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(value)
        return value

    return parse


def kept(read: Reader) -> Kept:
    return Kept(
        payload_days=read.number("PAYLOAD_RETENTION_DAYS", 90, high=3650),
        event_days=read.number("RETENTION_EVENT_DAYS", 180, high=3650),
        outbox_days=read.number("RETENTION_OUTBOX_DAYS", 30, high=3650),
        inbox_days=read.number("RETENTION_INBOX_DAYS", 30, high=3650),
        record_days=read.number("RETENTION_RECORD_DAYS", 90, high=3650),
        review_days=read.number("RETENTION_REVIEW_DAYS", 365, high=3650),
        job_days=read.number("RETENTION_JOB_DAYS", 90, high=3650),
        timer_run_days=read.number("RETENTION_TIMER_RUN_DAYS", 30, high=3650),
    )


def load_azure(environ: Mapping[str, str]) -> AzureSettings:
    """Raises SettingsError."""
    read = Reader(environ)
    azure = AzureSettings(
        client_id=read.optional("AZURE_CLIENT_ID"),
        key_vault_uri=read.parsed("KEY_VAULT_URI", https_url, "an https URL", ""),
        refresh_seconds=read.number("SECRETS_REFRESH_SECONDS", 840, high=3600),
    )
    if read.faults:
        raise SettingsError(read.faults)
    return azure


def https_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
        raise ValueError("not an https URL")
    return value


def load(environ: Mapping[str, str]) -> Settings:
    """The settings of this process. Raises SettingsError naming everything that is missing or bad."""
    read = Reader(environ)
    settings = Settings(
        environment=read.parsed("ENVIRONMENT", Environment, "development or production") or Environment.PRODUCTION,
        public_url=read.text("PUBLIC_URL").rstrip("/"),
        database_url=read.text("DATABASE_URL"),
        database_auth=read.auth("DATABASE_AUTH", "DATABASE_URL"),
        redis_url=read.text("REDIS_URL"),
        redis_auth=read.auth("REDIS_AUTH", "REDIS_URL"),
        svix_url=read.optional("SVIX_URL"),
        svix_token=read.text("SVIX_TOKEN"),
        svix_operational_secret=read.optional("SVIX_OPERATIONAL_SECRET"),
        xano_api_url=read.text("XANO_API_URL").rstrip("/"),
        xano_api_key=read.text("XANO_API_KEY"),
        audit_storage_connection_string=read.optional("AUDIT_STORAGE_CONNECTION_STRING"),
        audit_storage_url=read.parsed("AUDIT_STORAGE_URL", https_url, "an https URL", ""),
        key_pepper=read.key("KEY_PEPPER"),
        cache_key=read.key("CACHE_KEY"),
        token_keyring=read.keyring("TOKEN_KEYRING"),
        telemetry_connection_string=read.optional("APPLICATIONINSIGHTS_CONNECTION_STRING"),
        front_door_id=read.optional("FRONT_DOOR_ID"),
        metrics_token=read.optional("METRICS_TOKEN"),
        key_mode=read.parsed("KEY_MODE", one_of("live", "test"), "live or test", "live") or "live",
        key_hash_cost=read.number("KEY_HASH_COST", LEAST_KEY_HASH_COST, low=4, high=15),
        admin_rate_limit_per_minute=read.number("ADMIN_RATE_LIMIT_PER_MINUTE", 60_000),
        auth_failures_per_minute=read.number("AUTH_FAILURES_PER_MINUTE", 10),
        address_rate_limit_per_minute=read.number("ADDRESS_RATE_LIMIT_PER_MINUTE", 600),
        resources=read.words("RESOURCES", "orders,inventory"),
        resource_cache_seconds=read.number("RESOURCE_CACHE_SECONDS", 30, low=0, high=86_400),
        xano_data_source=read.optional("XANO_DATA_SOURCE"),
        allow_loopback_egress=read.flag("ALLOW_LOOPBACK_EGRESS"),
        database_pool_size=read.number("DATABASE_POOL_SIZE", 4, high=100),
        kept=kept(read),
        audit_hot_days=read.number("AUDIT_HOT_DAYS", 90, high=3650),
        schedules={name: text for name, text in environ.items() if name.endswith("_SCHEDULE")},
        webhook_max_attempts=read.number("WEBHOOK_MAX_ATTEMPTS", 8, high=50),
        sync_slice_seconds=read.number("SYNC_SLICE_SECONDS", 200, high=540),
        sync_lease_seconds=read.number("SYNC_LEASE_SECONDS", 60, high=3600),
        sync_backoff_seconds=read.number("SYNC_BACKOFF_SECONDS", 15, high=300),
        sync_jobs_at_once=read.number("SYNC_JOBS_AT_ONCE", 4, high=50),
        sync_disable_failures=read.number("SYNC_DISABLE_FAILURES", 10, high=1000),
        sync_disable_days=read.number("SYNC_DISABLE_DAYS", 3, low=0, high=365),
        version=read.text("PINKSYNC_VERSION", packaged()),
    )
    if settings.environment is Environment.PRODUCTION and settings.allow_loopback_egress:
        read.faults.append("ALLOW_LOOPBACK_EGRESS must not be set in production")
    if settings.environment is Environment.PRODUCTION and settings.key_hash_cost < LEAST_KEY_HASH_COST:
        read.faults.append(f"KEY_HASH_COST must be {LEAST_KEY_HASH_COST} or more in production")
    if read.faults:
        raise SettingsError(read.faults)
    return settings
