"""Where the settings come from: the environment, and for the secrets it lacks the vault; again and again."""

import asyncio
import json
import logging
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from shared_code import errors
from shared_code.adapters.environment_secrets import EnvironmentSecrets
from shared_code.ports import Secret
from shared_code.services.configuration import Configuration
from shared_code.settings import SECRETS, Auth, Settings, SettingsError, load, load_azure

KEYS = {kid: b64encode(os.urandom(32)).decode() for kid in ("k1", "k2", "k3")}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
REFRESH = timedelta(minutes=14)
PUBLIC = {
    "ENVIRONMENT": "production",
    "PUBLIC_URL": "https://gateway.example",
    "DATABASE_URL": "postgresql://id-pinksync@db.example/pinksync",
    "DATABASE_AUTH": "entra",
    "REDIS_URL": "rediss://00000000-0000-0000-0000-000000000007@redis.example:10000",
    "REDIS_AUTH": "entra",
    "AUDIT_STORAGE_URL": "https://account.table.example",
    "XANO_API_URL": "https://x.xano.io/api:abc",
}
"""A whole environment without one secret in it."""


@dataclass
class Vault:
    """What lies beyond the environment, as a dict."""

    values: dict[str, str] = field(default_factory=dict[str, str])
    changed_at: datetime | None = None
    down: bool = False

    async def get(self, name: str) -> Secret | None:
        if self.down:
            raise errors.Unavailable()
        return Secret(value=self.values[name], changed_at=self.changed_at) if name in self.values else None

    async def close(self) -> None: ...


@pytest.fixture
def vault() -> Vault:
    return Vault(
        {
            "key-pepper": KEYS["k1"],
            "cache-key": KEYS["k2"],
            "token-keyring": json.dumps({"k1": KEYS["k1"]}),
            "svix-token": "pw-svix",
            "xano-api-key": "pw-xano",
        }
    )


def configuration(vault: Vault, environ: Mapping[str, str] | None = None, now: datetime = NOW) -> Configuration:
    given = {**PUBLIC, **(environ or {})}
    return Configuration(given, EnvironmentSecrets(given, vault), lambda: now, REFRESH)


async def faults(vault: Vault, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        await configuration(vault, environ).read()
    assert "pw-" not in str(refusal.value)
    return refusal.value.faults


async def test_an_environment_without_a_secret_is_enough(vault: Vault) -> None:
    settings = await configuration(vault).read()
    assert (settings.svix_token, settings.xano_api_key) == ("pw-svix", "pw-xano")
    assert (settings.database_auth, settings.redis_auth) == (Auth.ENTRA, Auth.ENTRA)
    assert (settings.svix_operational_secret, settings.metrics_token) == (None, None)
    assert settings.secrets() == {KEYS["k1"], KEYS["k2"], "pw-svix", "pw-xano"}


async def test_the_environment_has_the_last_word(vault: Vault) -> None:
    assert (await configuration(vault, {"SVIX_TOKEN": "pw-mine"}).read()).svix_token == "pw-mine"


async def test_what_is_nowhere_is_named(vault: Vault) -> None:
    vault.values.clear()
    assert await faults(vault) == [
        f"{name} is missing" for name in ("SVIX_TOKEN", "XANO_API_KEY", "KEY_PEPPER", "CACHE_KEY", "TOKEN_KEYRING")
    ]


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("key-pepper", b64encode(b"pw-short").decode(), "KEY_PEPPER must be 32 bytes in base64"),
        (
            "token-keyring",
            "{}",
            'TOKEN_KEYRING must be JSON like {"k2": "<32 bytes, base64>", "k1": ...}, newest first',
        ),
        (
            "svix-token",
            "@Microsoft.KeyVault(SecretUri=https://pw-v.example/)",
            "SVIX_TOKEN is an unresolved Key Vault reference",
        ),
    ],
)
async def test_a_bad_secret_in_the_vault_is_named(vault: Vault, name: str, value: str, fault: str) -> None:
    vault.values[name] = value
    assert await faults(vault) == [fault]


async def test_an_unresolved_reference_in_the_environment_is_not_looked_up_elsewhere(vault: Vault) -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://pw-v.example/)"
    assert await faults(vault, XANO_API_KEY=reference) == ["XANO_API_KEY is an unresolved Key Vault reference"]


async def test_a_vault_that_is_down_names_what_is_wanted_of_it(vault: Vault) -> None:
    vault.down = True
    found = await faults(vault, METRICS_TOKEN="pw-metrics")
    assert found == [f"{name} cannot be read from the vault" for name in SECRETS if name != "METRICS_TOKEN"]


@pytest.mark.parametrize(
    ("minutes", "order"), [(0, ["k2", "k3", "k1"]), (27, ["k2", "k3", "k1"]), (28, ["k3", "k2", "k1"])]
)
async def test_a_new_key_seals_only_when_every_process_must_know_it(
    vault: Vault, minutes: int, order: list[str]
) -> None:
    vault.values["token-keyring"] = json.dumps({kid: KEYS[kid] for kid in ("k3", "k2", "k1")})
    vault.changed_at = NOW
    settings = await configuration(vault, now=NOW + timedelta(minutes=minutes)).read()
    assert list(settings.token_keyring) == order


async def test_a_ring_of_one_key_or_of_unknown_age_is_taken_as_it_is(vault: Vault) -> None:
    vault.changed_at = NOW
    assert list((await configuration(vault).read()).token_keyring) == ["k1"]
    vault.changed_at, vault.values["token-keyring"] = None, json.dumps({"k2": KEYS["k2"], "k1": KEYS["k1"]})
    assert list((await configuration(vault).read()).token_keyring) == ["k2", "k1"]


async def test_a_rotated_secret_is_handed_over_and_a_failure_is_not(
    vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    given = PUBLIC
    kept = Configuration(given, EnvironmentSecrets(given, vault), lambda: NOW, timedelta(milliseconds=5))
    taken: list[Settings] = []
    arrived = asyncio.Event()

    def take(settings: Settings) -> None:
        taken.append(settings)
        if settings.svix_token == "pw-new":
            arrived.set()

    keeping = asyncio.create_task(kept.keep(take))
    vault.down = True
    with caplog.at_level(logging.ERROR):
        while not caplog.records:
            await asyncio.sleep(0)
    assert not taken
    vault.values["svix-token"], vault.down = "pw-new", False
    async with asyncio.timeout(5):
        await arrived.wait()
    keeping.cancel()
    assert "the settings stay as they were" in caplog.text
    assert "pw-" not in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"DATABASE_URL": "postgresql://id:pw-left@db.example/pinksync"},
        {"REDIS_URL": "rediss://:pw-left@redis.example:10000"},
    ],
)
async def test_entra_wants_no_password(vault: Vault, changes: dict[str, str]) -> None:
    (fault,) = await faults(vault, **changes)
    (name,) = changes
    assert fault == f"{name} must have no password, as {name.replace('_URL', '_AUTH')} is entra"


@pytest.mark.parametrize("uri", ["http://vault.example", "vault", "https://", "https://user@vault.example"])
def test_a_vault_is_named_by_an_https_url(uri: str) -> None:
    with pytest.raises(SettingsError, match="KEY_VAULT_URI must be an https URL"):
        load_azure({"KEY_VAULT_URI": uri})


def test_without_a_vault_nothing_is_asked() -> None:
    azure = load_azure({})
    assert (azure.key_vault_uri, azure.client_id, azure.refresh_seconds) == (None, None, 840)


def test_the_secrets_of_urls_and_connection_strings_are_known_too() -> None:
    settings = load(
        PUBLIC
        | {name: KEYS["k1"] for name in ("KEY_PEPPER", "CACHE_KEY")}
        | {
            "DATABASE_URL": "postgresql://u:pw%2Fdatabase@db.example/x",
            "DATABASE_AUTH": "password",
            "REDIS_URL": "rediss://:pw-redis@r.example",
            "REDIS_AUTH": "password",
            "TOKEN_KEYRING": json.dumps({"k3": KEYS["k3"]}),
            "SVIX_TOKEN": "pw-svix",
            "XANO_API_KEY": "pw-xano",
            "AUDIT_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=pw-storage==;TableEndpoint=http://x",
        }
    )
    assert settings.secrets() == {
        *(KEYS["k1"], KEYS["k3"]),
        *("pw/database", "pw-redis", "pw-svix", "pw-xano", "pw-storage=="),
    }
