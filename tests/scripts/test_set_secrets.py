"""Which secrets are made, kept, taken and refused; over a vault that is a dict. No value is ever printed."""

import json

import pytest
from azure.core.exceptions import HttpResponseError

from scripts import set_secrets as script
from shared_code.settings import key_bytes, keyring
from tests import services


class Shelf:
    """A vault that others fill and look into."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self.held.get(name)

    def put(self, name: str, value: str) -> None:
        self.held[name] = value


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(autouse=True)
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVIX_TOKEN", "testsk_from-the-environment")
    monkeypatch.setenv("XANO_API_KEY", "xano-from-the-environment")


def run(shelf: Shelf, *options: str) -> int:
    return script.main(["--vault", "kv-test", *options], lambda _: shelf)


def test_an_empty_vault_gets_every_secret_in_the_form_the_app_wants(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shelf) == 0
    assert shelf.held.keys() == {script.stored_as(name) for name in (*script.MADE, *script.GIVEN)}
    assert len(key_bytes(shelf.held["key-pepper"])) == len(key_bytes(shelf.held["cache-key"])) == 32
    assert list(keyring(shelf.held["token-keyring"])) == ["k1"]
    assert shelf.held["svix-operational-secret"].startswith("whsec_")
    assert shelf.held["svix-token"] == "testsk_from-the-environment"
    told = capsys.readouterr()
    assert [value for value in shelf.held.values() if value in told.out + told.err] == []


def test_every_secret_is_one_that_the_app_reads() -> None:
    names = services.app_environment("", "").keys()
    assert {*script.MADE, *script.GIVEN} <= names


def test_a_second_run_changes_nothing(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    run(shelf)
    before = dict(shelf.held)
    capsys.readouterr()
    assert run(shelf) == 0
    assert shelf.held == before
    assert {line.split()[-1] for line in capsys.readouterr().out.splitlines()} == {"kept"}


def test_check_names_what_is_missing_and_writes_nothing(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shelf, "--check") == 1
    assert shelf.held == {}
    assert "KEY_PEPPER              missing\n" in capsys.readouterr().out


def test_what_others_made_is_missing_until_it_is_given(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SVIX_TOKEN")
    assert run(shelf) == 1
    assert "svix-token" not in shelf.held
    monkeypatch.setenv("SVIX_TOKEN", "testsk_new")
    assert run(shelf) == 0
    monkeypatch.delenv("SVIX_TOKEN")
    assert run(shelf) == 0
    assert shelf.held["svix-token"] == "testsk_new"


def test_a_rotated_key_ring_keeps_its_old_keys_until_they_are_retired(shelf: Shelf) -> None:
    run(shelf)
    first = json.loads(shelf.held["token-keyring"])
    assert run(shelf, "--rotate", "TOKEN_KEYRING") == 0
    second = json.loads(shelf.held["token-keyring"])
    assert list(second) == ["k2", "k1"]
    assert second["k1"] == first["k1"] != second["k2"]
    assert run(shelf, "--retire", "k2") == 1
    assert run(shelf, "--retire", "k7") == 1
    assert run(shelf, "--retire", "k1") == 0
    assert list(json.loads(shelf.held["token-keyring"])) == ["k2"]
    run(shelf, "--rotate", "TOKEN_KEYRING")
    assert list(json.loads(shelf.held["token-keyring"])) == ["k3", "k2"]


def test_a_new_pepper_must_be_meant(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    run(shelf)
    pepper = shelf.held["key-pepper"]
    assert run(shelf, "--rotate", "KEY_PEPPER") == 1
    assert shelf.held["key-pepper"] == pepper
    assert "every API key" in capsys.readouterr().err
    assert run(shelf, "--rotate", "KEY_PEPPER", "--every-api-key-dies") == 0
    assert shelf.held["key-pepper"] != pepper


def test_a_failure_of_the_vault_is_one_line_and_ends_with_1(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    def closed(_: str) -> Shelf:
        raise HttpResponseError("Forbidden\nand much more")

    assert script.main(["--vault", "kv-test"], closed) == 1
    assert capsys.readouterr().err == "set_secrets: HttpResponseError: Forbidden\n"


@pytest.mark.parametrize(
    "options", [[], ["--vault", "http://kv-test"], ["--vault", "kv-test", "--rotate", "SVIX_TOKEN"]]
)
def test_a_wrong_command_line_ends_with_2(options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main(options)
    assert ended.value.code == 2
