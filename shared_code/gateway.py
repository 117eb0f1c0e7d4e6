"""The composition root: the only file that knows which adapter serves which port.

`current()` is the gateway of the running event loop, made at its first use; nothing happens at import.
Clients belong to one loop (redis, psycopg and httpx all bind to it), so each loop has a gateway of its own.
Libraries are imported with this file, so that no request waits for one (Azure's SDKs alone are left to what
needs them, as not every installation does).
"""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from weakref import WeakKeyDictionary

from redis.asyncio import Redis

from shared_code import redaction
from shared_code.adapters import azure_identity, jsonschema_check, svix_signature
from shared_code.adapters.aesgcm_cipher import AesGcmCipher
from shared_code.adapters.azure_identity import AzureIdentity
from shared_code.adapters.bcrypt_hasher import BcryptHasher
from shared_code.adapters.degrading_access_cache import DegradingAccessCache
from shared_code.adapters.environment_secrets import EnvironmentSecrets
from shared_code.adapters.httpx_authorization import HttpxAuthorization
from shared_code.adapters.httpx_partner_api import HttpxPartnerApi
from shared_code.adapters.httpx_url_rule import HttpxUrlRule
from shared_code.adapters.key_vault_secrets import KeyVaultSecrets
from shared_code.adapters.memory_access_cache import MemoryAccessCache
from shared_code.adapters.memory_address_limit import MemoryAddressLimit
from shared_code.adapters.postgres_store import PostgresStore
from shared_code.adapters.postgres_timers import PostgresTimerLedger
from shared_code.adapters.redis_access_cache import RedisAccessCache
from shared_code.adapters.redis_answers import RedisAnswers
from shared_code.adapters.redis_circuit import RedisCircuit
from shared_code.adapters.redis_client import Outage, connect
from shared_code.adapters.redis_entra import EntraCredentials, without_user
from shared_code.adapters.redis_key_use import RedisKeyUse
from shared_code.adapters.redis_shared_counts import RedisSharedCounts
from shared_code.adapters.redis_strikes import RedisStrikes
from shared_code.adapters.redis_wire import RedisWire
from shared_code.adapters.svix_webhooks import SvixWebhooks
from shared_code.adapters.tables_audit_archive import Connect, TablesAuditArchive, by_connection_string, by_identity
from shared_code.adapters.tables_probe import table_probe
from shared_code.adapters.xano_backend import XanoBackend
from shared_code.adapters.xano_landing import XanoLanding
from shared_code.connectors.rest import RestConnector
from shared_code.model import Health
from shared_code.ports import (
    AccessCache,
    AddressLimit,
    Answers,
    AuditArchive,
    AuthorizationServer,
    Circuit,
    Clock,
    Connector,
    KeyHasher,
    PartnerApi,
    Probe,
    SchemaCheck,
    Secrets,
    SignatureCheck,
    Store,
    Strikes,
    TimerLedger,
    UrlRule,
)
from shared_code.services.access import Access
from shared_code.services.api_keys import ApiKeyService, KeyRing
from shared_code.services.audit_archive import AuditArchiver
from shared_code.services.audit_reading import AuditService
from shared_code.services.audit_verify import AuditVerifier
from shared_code.services.bootstrap import Bootstrap
from shared_code.services.configuration import Configuration
from shared_code.services.connections import ConnectionBook
from shared_code.services.credentials import PartnerCredentials
from shared_code.services.deliveries import DeliveryService
from shared_code.services.endpoints import EndpointBook, EndpointService
from shared_code.services.events import EventService, EventTypeService
from shared_code.services.idempotency import Idempotency
from shared_code.services.inbound import InboundService
from shared_code.services.intake import Intake
from shared_code.services.key_use import KeyUseService
from shared_code.services.limits import LimitAlerts
from shared_code.services.metrics import MetricsService
from shared_code.services.oauth import OAuthFlow
from shared_code.services.oauth_settings import ConnectionService
from shared_code.services.operational import OperationalService
from shared_code.services.partner_reads import PartnerReads
from shared_code.services.partners import PartnerService
from shared_code.services.proxy import ProxyService
from shared_code.services.readiness import ReadinessService
from shared_code.services.reencryption import Reencryption
from shared_code.services.relay import Relay
from shared_code.services.resources import ResourceService
from shared_code.services.retention import RetentionService, table
from shared_code.services.reviews import ReviewService
from shared_code.services.sync_jobs import SyncJobService
from shared_code.services.sync_runner import Limits, SyncRunner
from shared_code.services.sync_sources import SyncSourceService
from shared_code.services.sync_tools import SyncTools
from shared_code.services.timers import TimerService
from shared_code.services.tokens import Tokens
from shared_code.services.upkeep import TokenUpkeep
from shared_code.services.webhook_retry import WebhookRetry
from shared_code.settings import Auth, Settings, SettingsError, load_azure

PASSWORD_COST = 12
REFUSED_SECONDS = 5.0
"""How long a failed start is the answer, before the next request tries again."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(eq=False)
class Gateway:
    """Every service of this process, each made when it is first asked for."""

    settings: Settings
    now: Clock = utc_now
    identity: AzureIdentity = field(default_factory=AzureIdentity)
    secrets: Secrets | None = None
    _keeping: asyncio.Task[None] | None = None

    def take(self, settings: Settings) -> None:
        """Uses rotated secrets from the next call on. The pepper and the cache key hold until a restart, as what
        they have made is in use elsewhere.
        """
        redaction.remember(settings.secrets())
        self.settings = replace(settings, key_pepper=self.settings.key_pepper, cache_key=self.settings.cache_key)
        self.cipher.keyring = {**settings.token_keyring, **dropped(self.cipher.keyring, settings.token_keyring)}
        self.webhooks.use_token(settings.svix_token)
        self.backend.key = settings.xano_api_key
        self.__dict__.pop("operational", None)

    def keep_current(self, configuration: Configuration) -> None:
        self._keeping = asyncio.get_running_loop().create_task(configuration.keep(self.take))

    @cached_property
    def store(self) -> Store:
        return PostgresStore(self.settings.database_url, self.settings.database_pool_size, self.database_token)

    @property
    def database_token(self) -> Callable[[], Awaitable[azure_identity.Token]] | None:
        """What a connection to the database takes for a password, where its URL has none."""
        if self.settings.database_auth is Auth.PASSWORD:
            return None
        return lambda: self.identity.token(azure_identity.POSTGRES)

    @cached_property
    def redis(self) -> Redis:
        if self.settings.redis_auth is Auth.PASSWORD:
            return connect(self.settings.redis_url)
        return connect(without_user(self.settings.redis_url)[0], self.redis_login)

    @cached_property
    def redis_login(self) -> EntraCredentials:
        user = without_user(self.settings.redis_url)[1]
        return EntraCredentials(user, lambda: self.identity.token(azure_identity.REDIS))

    @cached_property
    def wire(self) -> RedisWire:
        return RedisWire(self.redis)

    @cached_property
    def outage(self) -> Outage:
        return Outage()

    @cached_property
    def cache(self) -> AccessCache:
        """While Redis is down a change made elsewhere is seen after five seconds (facts/security.md 2.2)."""
        sealing = AesGcmCipher({"c1": self.settings.cache_key})
        local = MemoryAccessCache(state_lifetime=timedelta(seconds=5))
        return DegradingAccessCache(RedisAccessCache(self.wire, sealing), local, self.outage)

    @cached_property
    def addresses(self) -> AddressLimit:
        return MemoryAddressLimit(self.settings.address_rate_limit_per_minute)

    @cached_property
    def strikes(self) -> Strikes:
        return RedisStrikes(self.wire, self.outage)

    @cached_property
    def circuit(self) -> Circuit:
        return RedisCircuit(self.wire, self.outage)

    @cached_property
    def answers(self) -> Answers:
        return RedisAnswers(self.wire, self.outage)

    @cached_property
    def backend(self) -> XanoBackend:
        settings = self.settings
        return XanoBackend(settings.xano_api_url, settings.xano_api_key, settings.xano_data_source)

    @cached_property
    def partner_api(self) -> PartnerApi:
        return HttpxPartnerApi(allow_loopback=self.settings.allow_loopback_egress)

    @cached_property
    def authorization(self) -> AuthorizationServer:
        return HttpxAuthorization(allow_loopback=self.settings.allow_loopback_egress)

    @cached_property
    def hasher(self) -> KeyHasher:
        return BcryptHasher(self.settings.key_pepper, self.settings.cache_key, self.settings.key_hash_cost)

    @cached_property
    def cipher(self) -> AesGcmCipher:
        return AesGcmCipher(self.settings.token_keyring)

    @cached_property
    def webhooks(self) -> SvixWebhooks:
        return SvixWebhooks(self.settings.svix_token, self.settings.svix_url)

    @cached_property
    def url_rule(self) -> UrlRule:
        return HttpxUrlRule(allow_loopback=self.settings.allow_loopback_egress)

    @cached_property
    def schema_check(self) -> SchemaCheck:
        return jsonschema_check.check

    @cached_property
    def access(self) -> Access:
        return Access(
            store=self.store,
            cache=self.cache,
            strikes=self.strikes,
            hasher=self.hasher,
            now=self.now,
            key_mode=self.settings.key_mode,
            admin_limit=self.settings.admin_rate_limit_per_minute,
            most_strikes=self.settings.auth_failures_per_minute,
        )

    @cached_property
    def ring(self) -> KeyRing:
        return KeyRing(self.hasher, self.settings.key_mode)

    @cached_property
    def relay(self) -> Relay:
        return Relay(self.store, self.webhooks, self.cipher, self.now)

    @cached_property
    def book(self) -> EndpointBook:
        return EndpointBook(self.cipher, self.url_rule, self.relay)

    @cached_property
    def api_keys(self) -> ApiKeyService:
        return ApiKeyService(self.store, self.cache, self.ring, self.now)

    @cached_property
    def partners(self) -> PartnerService:
        return PartnerService(
            store=self.store,
            cache=self.cache,
            ring=self.ring,
            book=self.book,
            cipher=self.cipher,
            relay=self.relay,
            url_rule=self.url_rule,
            now=self.now,
        )

    @cached_property
    def endpoints(self) -> EndpointService:
        return EndpointService(self.store, self.book, self.webhooks, self.now)

    @cached_property
    def events(self) -> EventService:
        return EventService(self.store, self.relay, self.intake, self.now, self.settings.webhook_max_attempts)

    @cached_property
    def intake(self) -> Intake:
        return Intake(self.store, self.relay, self.schema_check, self.settings.webhook_max_attempts)

    @cached_property
    def event_types(self) -> EventTypeService:
        return EventTypeService(self.store, self.relay, self.schema_check, self.now)

    @cached_property
    def deliveries(self) -> DeliveryService:
        return DeliveryService(self.store, self.webhooks, self.relay, self.now)

    @cached_property
    def resources(self) -> ResourceService:
        settings = self.settings
        return ResourceService(
            self.backend, self.answers, self.circuit, settings.resources, settings.resource_cache_seconds
        )

    @cached_property
    def proxy(self) -> ProxyService:
        return ProxyService(self.store, self.partner_api, self.credentials, self.circuit)

    @cached_property
    def credentials(self) -> PartnerCredentials:
        """The one way to what a request to a partner's API must carry: for the proxy and for every other caller."""
        return PartnerCredentials(self.cipher, self.tokens)

    @cached_property
    def connection_book(self) -> ConnectionBook:
        return ConnectionBook(self.cipher, self.cache, self.events)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.store, self.authorization, self.connection_book, self.now)

    @cached_property
    def token_upkeep(self) -> TokenUpkeep:
        return TokenUpkeep(self.store, self.authorization, self.connection_book, self.tokens, self.now)

    @cached_property
    def connections(self) -> ConnectionService:
        return ConnectionService(self.store, self.cipher, self.url_rule, self.token_upkeep, self.now)

    @cached_property
    def oauth(self) -> OAuthFlow:
        return OAuthFlow(
            self.store, self.authorization, self.connection_book, self.cipher, self.now, self.settings.public_url
        )

    @cached_property
    def connectors(self) -> Mapping[str, Connector]:
        """One line per kind of partner API."""
        return {"rest": RestConnector(self.now)}

    @cached_property
    def sync_jobs(self) -> SyncJobService:
        return SyncJobService(self.store, self.now, self.settings.resources)

    @cached_property
    def sync_sources(self) -> SyncSourceService:
        return SyncSourceService(self.store, self.connectors, self.now, self.settings.resources)

    @cached_property
    def sync_runner(self) -> SyncRunner:
        settings = self.settings
        tools = SyncTools(
            store=self.store,
            connectors=self.connectors,
            reads=PartnerReads(self.partner_api, self.credentials, self.circuit),
            landing=XanoLanding(self.backend),
            answers=self.answers,
            events=self.events,
            now=self.now,
            lease=timedelta(seconds=settings.sync_lease_seconds),
        )
        limits = Limits(
            slice_seconds=settings.sync_slice_seconds,
            at_once=settings.sync_jobs_at_once,
            backoff_seconds=settings.sync_backoff_seconds,
            disable_failures=settings.sync_disable_failures,
            disable_days=settings.sync_disable_days,
        )
        return SyncRunner(tools, WebhookRetry(self.store, self.deliveries, self.now), limits)

    @cached_property
    def limits(self) -> LimitAlerts:
        return LimitAlerts(self.store, self.events, self.now)

    @cached_property
    def key_use(self) -> KeyUseService:
        return KeyUseService(RedisKeyUse(self.wire, self.outage), self.store)

    @cached_property
    def reviews(self) -> ReviewService:
        return ReviewService(self.store, self.relay, self.now)

    @cached_property
    def retention(self) -> RetentionService:
        return RetentionService(self.store, self.now, table(self.settings.kept))

    @cached_property
    def reencryption(self) -> Reencryption:
        return Reencryption(self.store, self.cipher, self.now)

    @cached_property
    def signed(self) -> SignatureCheck:
        return svix_signature.signed

    @cached_property
    def inbound(self) -> InboundService:
        return InboundService(
            store=self.store,
            backend=self.backend,
            events=self.events,
            cipher=self.cipher,
            signed=self.signed,
            now=self.now,
            resources=self.settings.resources,
        )

    @cached_property
    def operational(self) -> OperationalService:
        return OperationalService(
            self.store, self.deliveries, self.signed, self.now, self.settings.svix_operational_secret
        )

    @cached_property
    def audit(self) -> AuditService:
        return AuditService(self.store, self.archive)

    @cached_property
    def archive(self) -> AuditArchive | None:
        return TablesAuditArchive(self.tables) if self.tables else None

    @cached_property
    def tables(self) -> Connect | None:
        connection, url = self.settings.audit_storage_connection_string, self.settings.audit_storage_url
        if connection:
            return by_connection_string(connection)
        return by_identity(url, self.identity) if url else None

    @cached_property
    def archiver(self) -> AuditArchiver:
        return AuditArchiver(self.store, self.archive, self.now, timedelta(days=self.settings.audit_hot_days))

    @cached_property
    def verifier(self) -> AuditVerifier | None:
        return AuditVerifier(self.store, self.archive) if self.archive else None

    @cached_property
    def ledger(self) -> TimerLedger:
        return PostgresTimerLedger(self.settings.database_url, self.database_token)

    @cached_property
    def timers(self) -> TimerService:
        return TimerService(self.ledger, self.store, self.now, self.settings.schedules)

    @cached_property
    def idempotency(self) -> Idempotency:
        return Idempotency(self.store, self.cipher, self.now)

    @cached_property
    def bootstrap(self) -> Bootstrap:
        passwords = BcryptHasher(self.settings.key_pepper, self.settings.cache_key, cost=PASSWORD_COST)
        return Bootstrap(self.store, self.ring, passwords, self.now)

    @cached_property
    def metrics(self) -> MetricsService:
        return MetricsService(
            self.store, RedisSharedCounts(self.wire, self.outage), self.circuit, self.timers.lags, self.now
        )

    @cached_property
    def readiness(self) -> ReadinessService:
        probes: dict[str, Probe] = {
            "postgres": lambda: answered(self.store.ping()),
            "redis": lambda: answered(self.cache.ping()),
            "svix": lambda: answered(self.webhooks.ping()),
            "xano": lambda: answered(self.backend.ping()),
            "keyring": self.reencryption.health,
        }
        if tables := self.tables:
            probes["storage"] = lambda: table_probe(tables)
        return ReadinessService(probes, self.timers.late)

    async def close(self) -> None:
        """Ends what was made, in the reverse order of need. Only tests and commands have an end to use it at."""
        if self._keeping:
            self._keeping.cancel()
        made = self.__dict__
        for name in (
            "metrics",
            "relay",
            "webhooks",
            "backend",
            "authorization",
            "partner_api",
            "cache",
            "redis_login",
            "archive",
            "ledger",
            "store",
            "secrets",
            "identity",
        ):
            if made.get(name):
                await made[name].close()


def dropped(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Keys that the ring no longer has. What this process could open it can open until it ends."""
    return {kid: key for kid, key in before.items() if kid not in now}


async def answered(question: Awaitable[None]) -> Health:
    await question
    return Health.OK


def watch(settings: Settings) -> None:
    """Telemetry, where it is set up. Its library is imported only then: that takes half a second."""
    if settings.telemetry_connection_string:
        from shared_code.adapters import azure_monitor

        azure_monitor.configure(settings.telemetry_connection_string)


_gateways: WeakKeyDictionary[asyncio.AbstractEventLoop, Gateway] = WeakKeyDictionary()
_opening: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Gateway]] = WeakKeyDictionary()


async def current() -> Gateway:
    """The gateway of the running loop. Raises SettingsError, naming every fault, if it cannot be made."""
    loop = asyncio.get_running_loop()
    return _gateways.get(loop) or await _opened(loop)


async def _opened(loop: asyncio.AbstractEventLoop) -> Gateway:
    """Opened once, however many ask; a failure is everyone's answer for a while, so that a vault is not stormed."""
    opening = _opening.get(loop)
    if opening is None:
        opening = _opening[loop] = loop.create_task(_open())
        opening.add_done_callback(forget_opening)
    return await asyncio.shield(opening)


def forget_opening(done: asyncio.Task[Gateway]) -> None:
    failed = done.cancelled() or done.exception()
    loop = done.get_loop()
    loop.call_later(REFUSED_SECONDS if failed else 0, _opening.pop, loop, None)


async def _open() -> Gateway:
    redaction.install()
    azure = load_azure(os.environ)
    identity = AzureIdentity(azure.client_id)
    uri, refresh = azure.key_vault_uri, azure.refresh_seconds
    vault = KeyVaultSecrets(uri, identity, refresh) if uri else None
    secrets = EnvironmentSecrets(os.environ, vault)
    configuration = Configuration(os.environ, secrets, utc_now, timedelta(seconds=refresh))
    try:
        settings = await configuration.read()
    except SettingsError:
        await secrets.close()
        await identity.close()
        raise
    redaction.remember(settings.secrets())
    watch(settings)
    gateway = Gateway(settings, identity=identity, secrets=secrets)
    if vault:
        gateway.keep_current(configuration)
    _gateways[asyncio.get_running_loop()] = gateway
    gc.freeze()  # what is here now stays for good: no collection need look at it again
    return gateway


def install(gateway: Gateway) -> None:
    """For tests and commands: this loop's gateway, made by hand."""
    _gateways[asyncio.get_running_loop()] = gateway
