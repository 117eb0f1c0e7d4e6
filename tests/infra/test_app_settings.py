"""The settings that the code reads and the settings that the templates set are the same (modules/functionapp.bicep)."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from devstack.functions_host import ncrontab
from devstack.process import ROOT
from infra.check.faults import TEMPLATES, environment
from infra.check.functions import Unknown
from shared_code import settings

NOT_OURS = {
    "AzureWebJobsStorage__": "the host: its storage, by identity",
    "APPLICATIONINSIGHTS_": "azure-monitor-opentelemetry and the host: where telemetry goes, and as whom",
    "PYTHON_ENABLE_OPENTELEMETRY": "the Python worker: the app starts telemetry by itself",
    "OTEL_": "the OpenTelemetry SDK: the service's name and which part of the requests is traced",
    "AZURE_CLIENT_ID": "azure-identity: which of the identities to be",
}
"""Settings (or how they begin) that something else than our code reads, and what."""
AWAITED = {
    "KEY_VAULT_URI": "the secrets port",
    "DATABASE_AUTH": "tokens instead of passwords",
    "REDIS_AUTH": "tokens instead of passwords",
    "AUDIT_STORAGE_URL": "storage by identity",
}
"""Set already; the code that reads them may come after the templates."""
DEFAULT_IS_RIGHT = {
    "ADMIN_RATE_LIMIT_PER_MINUTE": "no need to differ",
    "AUTH_FAILURES_PER_MINUTE": "no need to differ",
    "ADDRESS_RATE_LIMIT_PER_MINUTE": "no need to differ",
    "RESOURCES": "a deployment of one's own business sets it",
    "RESOURCE_CACHE_SECONDS": "no need to differ",
    "XANO_DATA_SOURCE": "Xano's live data",
    "ALLOW_LOOPBACK_EGRESS": "never in Azure",
    "PAYLOAD_RETENTION_DAYS": "no need to differ",
    "WEBHOOK_MAX_ATTEMPTS": "Svix's own schedule",
    "PINKSYNC_VERSION": "the package knows it",
    "AUDIT_STORAGE_CONNECTION_STRING": "for local use: Azure has AUDIT_STORAGE_URL and an identity",
}
"""Settings that the templates leave alone, and why."""
SOURCES = ["function_app.py", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "functions").rglob("*.py"))]


class Recording(dict[str, str]):
    """An environment that remembers what was asked of it."""

    asked: set[str]

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


def deployed(name: str) -> dict[str, str]:
    [found] = environment(name).of_type("Web/sites/config")
    return dict(found.properties)


def as_in_azure(values: Mapping[str, str]) -> dict[str, str]:
    """What the process would see: references resolved, and names that Azure gave."""
    key = base64.b64encode(bytes(32)).decode()
    secrets = {"KEY_PEPPER": key, "CACHE_KEY": key, "TOKEN_KEYRING": json.dumps({"k1": key})}
    seen: dict[str, str] = {}
    for name, value in values.items():
        text = secrets.get(name, "a-secret") if value.startswith("@Microsoft.KeyVault(") else value
        seen[name] = re.sub("«[^»]*»", "name.example.net", text) if isinstance(value, Unknown) else text
    return seen


def read_by_the_code() -> set[str]:
    """By settings.py, with nothing set and with all that the templates set, and by the timers' schedules."""
    asked: set[str] = set()
    for values in ({}, as_in_azure(deployed("prod"))):
        recording = Recording(values)
        try:
            settings.load(recording)
        except settings.SettingsError:
            pass
        asked |= recording.asked
    return asked | schedules()


def schedules() -> set[str]:
    return {name for path in SOURCES for name in re.findall(r"%([A-Z_]+)%", (ROOT / path).read_text())}


def strays(names: set[str], listed: Mapping[str, str]) -> set[str]:
    return {name for name in names if not any(name == each or name.startswith(each) for each in listed)}


def test_every_setting_the_code_reads_is_set_or_listed() -> None:
    assert read_by_the_code() - deployed("prod").keys() - DEFAULT_IS_RIGHT.keys() == set()


def test_every_setting_that_is_set_is_read() -> None:
    unread = deployed("prod").keys() - read_by_the_code()
    assert strays(set(unread), NOT_OURS) - AWAITED.keys() == set()


def test_what_is_listed_is_still_there() -> None:
    assert DEFAULT_IS_RIGHT.keys() - read_by_the_code() == set(), "a setting that is gone is still listed"
    assert DEFAULT_IS_RIGHT.keys() & deployed("prod").keys() == set(), "listed as left alone, and set"
    unused = [each for each in NOT_OURS if not any(name.startswith(each) for name in deployed("prod"))]
    assert unused == []


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_app_starts_with_what_the_templates_set(name: str) -> None:
    loaded = settings.load(as_in_azure(deployed(name)))
    assert loaded.environment is settings.Environment.PRODUCTION
    assert loaded.key_mode == ("live" if name == "prod" else "test")
    assert loaded.public_url.startswith("https://")
    assert not loaded.allow_loopback_egress


def test_each_schedule_has_six_fields() -> None:
    """Second, minute, hour, day, month, weekday: with five the host would take the first for minutes."""
    set_here = {name: value for name, value in deployed("prod").items() if name.endswith("_SCHEDULE")}
    assert set_here.keys() == schedules()
    for value in set_here.values():
        ncrontab.parse(value)
        assert len(value.split()) == 6


def test_settings_stand_in_one_place() -> None:
    homes = [path.name for path in TEMPLATES.rglob("*.bicep") if "AzureWebJobsStorage__" in path.read_text()]
    assert homes == ["functionapp.bicep"]


def secret_names(values: Mapping[str, str]) -> Iterator[str]:
    for value in values.values():
        if match := re.search(r"secrets/([a-z0-9-]+)\)$", value):
            yield match[1]


def test_secrets_of_the_vault_are_named_like_their_settings() -> None:
    """scripts that fill the vault can do so without a list of their own."""
    values = deployed("prod")
    named = {name: name.lower().replace("_", "-") for name, value in values.items() if value.startswith("@Microsoft")}
    assert sorted(named.values()) == sorted(secret_names(values))
