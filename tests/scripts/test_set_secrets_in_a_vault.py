"""`python -m scripts.set_secrets` through Microsoft's own SDK, against a vault that behaves, refuses and is busy."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from devstack.process import ROOT
from scripts import set_secrets as script
from tests.key_vault import KeyVault, running_key_vault

NAMES = {script.stored_as(name) for name in (*script.MADE, *script.GIVEN)}
GIVEN = {"SVIX_TOKEN": "testsk_given", "XANO_API_KEY": "xano-given"}


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVault]:
    """An empty one, and an operator who is signed in."""
    with running_key_vault(tmp_path) as running:
        told = {"REQUESTS_CA_BUNDLE": str(running.certificate), "NO_PROXY": "127.0.0.1,localhost"}
        for name, value in {**running.identity, **GIVEN, **told}.items():
            monkeypatch.setenv(name, value)
        yield running


def run(vault: KeyVault, *options: str) -> int:
    return script.main(["--vault", vault.url, *options])


def held(vault: KeyVault) -> dict[str, str]:
    with SecretClient(vault.url, DefaultAzureCredential()) as client:
        names = [name for name in NAMES if name in vault.written]
        return {name: client.get_secret(name).value or "" for name in names}


def no_secret_in(text: str, vault: KeyVault) -> bool:
    values = [*held(vault).values(), *GIVEN.values(), *vault.known()["tokens"]]
    return not [value for value in values if value in text]


def test_as_a_command_it_writes_each_secret_once_and_a_repeat_writes_nothing(vault: KeyVault) -> None:
    command = [sys.executable, "-m", "scripts.set_secrets", "--vault", vault.url]
    first, again = [
        subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True) for _ in range(2)
    ]
    assert (first.returncode, first.stderr) == (again.returncode, again.stderr) == (0, "")
    assert vault.written == dict.fromkeys(NAMES, 1)
    assert {line.split()[-1] for line in first.stdout.splitlines()} == {"made", "written"}
    assert {line.split()[-1] for line in again.stdout.splitlines()} == {"kept"}
    assert held(vault)["svix-token"] == GIVEN["SVIX_TOKEN"]
    assert no_secret_in(first.stdout + again.stdout, vault)


def test_a_changed_value_is_a_new_version_and_the_old_one_can_still_be_read(
    vault: KeyVault, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(vault)
    monkeypatch.setenv("XANO_API_KEY", "xano-changed")
    assert run(vault, "--rotate", "TOKEN_KEYRING") == 0
    assert vault.written == dict.fromkeys(NAMES, 1) | {"xano-api-key": 2, "token-keyring": 2}
    assert list(json.loads(held(vault)["token-keyring"])) == ["k2", "k1"]
    with SecretClient(vault.url, DefaultAzureCredential()) as client:
        versions = [each.version or "" for each in client.list_properties_of_secret_versions("xano-api-key")]
        assert [client.get_secret("xano-api-key", each).value for each in versions] == ["xano-given", "xano-changed"]
    assert no_secret_in("".join(capsys.readouterr()), vault)


def test_who_may_read_but_not_write_is_told_which_role_is_wanted(
    vault: KeyVault, capsys: pytest.CaptureFixture[str]
) -> None:
    vault.fail("vault", 403, method="PUT")
    assert run(vault) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("set_secrets: 403 ForbiddenByRbac: Caller is not authorized")
    assert told.err.count("\n") == 1
    assert "Key Vault Secrets Officer" in told.err
    assert vault.written == {}


def test_a_busy_vault_is_asked_again(vault: KeyVault) -> None:
    vault.fail("vault", 429, method="PUT", times=2)
    assert run(vault) == 0
    assert vault.written == dict.fromkeys(NAMES, 1)


def test_what_was_written_before_the_vault_was_too_busy_is_told_and_the_next_run_does_the_rest(
    vault: KeyVault, capsys: pytest.CaptureFixture[str]
) -> None:
    vault.put("key-pepper", "of before")
    vault.fail("vault", 429, method="PUT")
    assert run(vault) == 1
    told = capsys.readouterr()
    assert told.out == "KEY_PEPPER              kept\n"
    assert told.err.startswith("set_secrets: 429 Throttled: ")
    assert told.err.endswith("(the vault is busy; run it again in a minute)\n")
    vault.heal()
    assert run(vault) == 0
    assert vault.written == dict.fromkeys(NAMES - {"key-pepper"}, 1)
    assert no_secret_in("".join(capsys.readouterr()), vault)


def test_nobody_signed_in_and_an_address_that_is_no_vault_are_one_line_each(
    vault: KeyVault, capsys: pytest.CaptureFixture[str]
) -> None:
    vault.fail("identity", 403)
    assert run(vault) == 1
    assert "DefaultAzureCredential failed" in capsys.readouterr().err
    assert script.main(["--vault", vault.url.replace("127.0.0.1", "localhost")]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("set_secrets: ValueError: The challenge resource")
    assert told.err.count("\n") == 1
