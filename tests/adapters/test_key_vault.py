"""Secrets and tokens through Azure's real SDKs, against a vault and an identity endpoint that behave and fail."""

import ssl
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from shared_code import errors
from shared_code.adapters import azure_identity
from shared_code.adapters.azure_identity import AzureIdentity
from shared_code.adapters.environment_secrets import EnvironmentSecrets
from shared_code.adapters.key_vault_secrets import KeyVaultSecrets
from shared_code.ports import Secret
from tests.key_vault import KeyVault, running_key_vault

FRESH = 840.0


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVault]:
    with running_key_vault(tmp_path_factory.mktemp("vault")) as running:
        yield running


@pytest.fixture(autouse=True)
def _in_azure(vault: KeyVault, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in App Service; and the vault's certificate is trusted, which aiohttp can only be told before its import."""
    for name, value in vault.identity.items():
        monkeypatch.setenv(name, value)
    trusting = ssl.create_default_context(cafile=str(vault.certificate))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    yield
    vault.heal()


@pytest.fixture
async def identity() -> AsyncIterator[AzureIdentity]:
    made = AzureIdentity("client-7")
    yield made
    await made.close()


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
async def secrets(vault: KeyVault, identity: AzureIdentity, clock: Time) -> AsyncIterator[KeyVaultSecrets]:
    made = KeyVaultSecrets(vault.url, identity, FRESH, clock)
    yield made
    await made.close()


def value(secret: Secret | None) -> str | None:
    return secret.value if secret else None


async def test_a_secret_comes_with_the_time_it_changed(vault: KeyVault, secrets: KeyVaultSecrets) -> None:
    vault.put("svix-token", "first", age_seconds=7200)
    found = await secrets.get("svix-token")
    assert found
    assert found.changed_at
    assert (found.value, round(time.time() - found.changed_at.timestamp(), -2)) == ("first", 7200)
    assert "first" not in repr(found) + repr(secrets)


async def test_what_the_vault_has_not_is_none(secrets: KeyVaultSecrets) -> None:
    assert await secrets.get("nothing-of-this-name") is None


async def test_a_secret_is_kept_and_then_asked_for_again(
    vault: KeyVault, secrets: KeyVaultSecrets, clock: Time
) -> None:
    vault.put("rotated", "old")
    assert value(await secrets.get("rotated")) == "old"
    vault.put("rotated", "new")
    asked = vault.asked("rotated")
    clock.now = FRESH - 1
    assert (value(await secrets.get("rotated")), vault.asked("rotated")) == ("old", asked)
    clock.now = FRESH
    assert (value(await secrets.get("rotated")), vault.asked("rotated")) == ("new", asked + 1)


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_a_failing_vault_gives_what_it_gave_last(
    vault: KeyVault, secrets: KeyVaultSecrets, clock: Time, status: int
) -> None:
    vault.put("kept", "good")
    assert value(await secrets.get("kept")) == "good"
    clock.now = FRESH
    vault.fail("vault", status)
    assert value(await secrets.get("kept")) == "good"
    asked = vault.asked("kept")
    clock.now += 59
    assert (value(await secrets.get("kept")), vault.asked("kept")) == ("good", asked)
    vault.heal()
    vault.put("kept", "better")
    clock.now += 1
    assert value(await secrets.get("kept")) == "better"


async def test_a_vault_that_never_answered_is_unavailable(vault: KeyVault, secrets: KeyVaultSecrets) -> None:
    vault.put("unread", "x")
    vault.fail("vault", 403)
    with pytest.raises(errors.Unavailable):
        await secrets.get("unread")
    vault.heal()
    assert value(await secrets.get("unread")) == "x"


async def test_a_vault_lists_the_versions_of_a_secret(vault: KeyVault, secrets: KeyVaultSecrets) -> None:
    """Nothing of ours asks for it; an operator's tools do."""
    vault.put("twice", "old", age_seconds=60)
    vault.put("twice", "new")
    client = await secrets._connected()
    found = [each.version async for each in client.list_properties_of_secret_versions("twice")]
    assert [(await client.get_secret("twice", each)).value for each in found if each] == ["old", "new"]


async def test_a_passing_failure_is_tried_again_within_the_same_call(vault: KeyVault, secrets: KeyVaultSecrets) -> None:
    vault.put("hiccup", "x")
    vault.fail("vault", 500, times=1)
    assert value(await secrets.get("hiccup")) == "x"


async def test_a_vault_that_hangs_is_waited_for_no_longer_than_agreed(
    vault: KeyVault, secrets: KeyVaultSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_identity, "OVERALL_SECONDS", 0.5)
    vault.fail("vault", 200, delay_seconds=5, times=1)
    started = time.monotonic()
    with pytest.raises(errors.Unavailable):
        await secrets.get("hung")
    assert time.monotonic() - started < 4


async def test_a_disabled_secret_is_a_failure_not_an_absence(vault: KeyVault, secrets: KeyVaultSecrets) -> None:
    vault.put("disabled", "x", enabled=False)
    with pytest.raises(errors.Unavailable):
        await secrets.get("disabled")


async def test_a_vault_of_another_name_in_its_challenge_gets_no_token(vault: KeyVault, identity: AzureIdentity) -> None:
    """The SDK's own check: a server that says it is another resource would otherwise collect tokens for it."""
    before = set(vault.known()["tokens"].values())
    elsewhere = KeyVaultSecrets(vault.url.replace("127.0.0.1", "localhost"), identity, FRESH)
    with pytest.raises(errors.Unavailable):
        await elsewhere.get("anything")
    await elsewhere.close()
    assert set(vault.known()["tokens"].values()) == before


async def test_the_environment_comes_before_what_lies_beyond(vault: KeyVault, secrets: KeyVaultSecrets) -> None:
    vault.put("xano-api-key", "of the vault")
    vault.put("metrics-token", "of the vault")
    both = EnvironmentSecrets({"XANO_API_KEY": "of the environment", "METRICS_TOKEN": " "}, secrets)
    assert value(await both.get("xano-api-key")) == "of the environment"
    assert value(await both.get("metrics-token")) == "of the vault"
    assert await EnvironmentSecrets({}).get("xano-api-key") is None


async def test_tokens_come_from_the_managed_identity_once_per_scope(vault: KeyVault, identity: AzureIdentity) -> None:
    before = vault.asked("token")
    first, again = [await identity.token(azure_identity.POSTGRES) for _ in range(2)]
    other = await identity.token(azure_identity.REDIS)
    assert first == again != other
    assert vault.asked("token") == before + 2
    tokens = vault.known()["tokens"]
    assert tokens[first.text] == "https://ossrdbms-aad.database.windows.net"
    assert tokens[other.text] == "https://redis.azure.com"
    assert 3500 < first.expires_at - time.time() < 3700
    assert first.text not in repr(first)


async def test_without_an_identity_there_is_no_token(vault: KeyVault, identity: AzureIdentity) -> None:
    vault.fail("identity", 403)
    with pytest.raises(errors.Unavailable):
        await identity.token(azure_identity.POSTGRES)
