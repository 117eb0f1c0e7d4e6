"""The parts of one stack, each described once: command line, environment, health check."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from devstack.azurite import Azurite
from devstack.postgres import Postgres
from devstack.process import ROOT, Part, http_status
from devstack.settings import Addresses, Options, Secrets, app_environment
from devstack.valkey import Valkey

SERVICES = ("postgres", "redis", "azurite", "svix", "xano", "partner")
"""Every part but the host: they start together, and the host when they are all up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a part sits: its port, its folder, its log."""

    port: int
    data: Path
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One stack, described; nothing runs yet."""

    options: Options
    secrets: Secrets = field(repr=False)
    ports: Mapping[str, int]

    @property
    def postgres(self) -> Postgres:
        seat, password = self.seat("postgres"), self.secrets.postgres_password
        return Postgres(state=self.options.folder, port=seat.port, log=seat.log, password=password)

    @property
    def valkey(self) -> Valkey:
        seat = self.seat("redis")
        return Valkey(folder=seat.data, port=seat.port, log=seat.log, password=self.secrets.redis_password)

    @property
    def azurite(self) -> Azurite:
        seat = self.seat("azurite")
        return Azurite(folder=seat.data, port=seat.port, log=seat.log, key=self.secrets.storage_key)

    def services(self) -> list[Part]:
        return [
            self.postgres.part(),
            self.valkey.part(),
            self.azurite.part(),
            svix(self.seat("svix"), self.secrets.svix_jwt_secret, self.options.svix_retry),
            xano(self.seat("xano"), self.secrets.xano_api_key),
            partner(self.seat("partner"), self.secrets.partner_api_key),
        ]

    def host(self) -> Part:
        return host(self.seat("host"), self.environment() | {"DEVSTACK_MASTER_KEY": self.secrets.master_key})

    def environment(self) -> dict[str, str]:
        return app_environment(self.options, self.secrets, self.addresses())

    def addresses(self) -> Addresses:
        return Addresses(
            database_url=self.postgres.url(),
            redis_url=self.valkey.url(),
            storage_connection_string=self.azurite.connection_string,
            svix_url=local_url(self.ports["svix"]),
            xano_url=xano_url(self.ports["xano"]),
            partner_url=local_url(self.ports["partner"]),
        )

    def seat(self, name: str) -> Seat:
        port = self.options.gateway_port if name == "host" else self.ports[name]
        return Seat(port=port, data=self.options.folder / name, log=self.options.log(name))


def svix(seat: Seat, jwt_secret: str, retry: str) -> Part:
    env = {"DEVSTACK_SVIX_JWT_SECRET": jwt_secret, "DEVSTACK_SVIX_RETRY": retry}
    return python_part("svix", "stand-in for Svix", seat, "svix_server", health="/api/v1/health/ping", env=env)


def xano(seat: Seat, api_key: str) -> Part:
    env = {"DEVSTACK_XANO_API_KEY": api_key}
    return python_part("xano", "stand-in for Xano", seat, "xano_server", health="/_devstack/health", env=env)


def key_vault(seat: Seat, identity_header: str) -> Part:
    """Not in a stack by default: its clients must trust its certificate."""
    env = {"DEVSTACK_IDENTITY_HEADER": identity_header}
    return python_part(
        "key_vault", "stand-in for Key Vault and identity", seat, "key_vault", health="/_devstack/health", env=env
    )


def partner(seat: Seat, api_key: str) -> Part:
    env = {"DEVSTACK_PARTNER_API_KEY": api_key}
    return python_part(
        "partner", "stand-in for a partner's system", seat, "partner", health="/_devstack/health", env=env
    )


def host(seat: Seat, env: Mapping[str, str], *, health: str = "/api/health") -> Part:
    title = "Functions host with Microsoft's Python worker"
    part = python_part("host", title, seat, "functions_host", health=health, env=env)
    where = ["--app-root", str(ROOT), "--port", str(seat.port), "--state", str(seat.data)]
    return replace(part, command=(sys.executable, "-m", "devstack.functions_host", *where))


def python_part(name: str, title: str, seat: Seat, module: str, *, health: str, env: Mapping[str, str]) -> Part:
    return Part(
        name=name,
        title=title,
        port=seat.port,
        command=(sys.executable, "-m", f"devstack.{module}", "--port", str(seat.port), "--data", str(seat.data)),
        log=seat.log,
        is_ready=lambda: http_status(seat.port, health) in (200, 204),
        env=env,
        prepare=lambda: seat.data.mkdir(mode=0o700, parents=True, exist_ok=True),
    )


def xano_url(port: int) -> str:
    return f"{local_url(port)}/api:business"


def local_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
