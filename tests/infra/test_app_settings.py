"""The settings that the code reads and the settings that the templates set are the same (modules/functionapp.bicep)."""

import base64
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from devstack.process import ROOT
from infra.check.faults import TEMPLATES, environment
from infra.check.functions import Unknown
from shared_code import settings
from tests.functions.index import TABLE

NOT_OURS = {
    "AzureWebJobsStorage__": "the host: its storage, by identity",
    "APPLICATIONINSIGHTS_": "azure-monitor-opentelemetry and the host: where telemetry goes, and as whom",
    "PYTHON_ENABLE_OPENTELEMETRY": "the Python worker: the app starts telemetry by itself",
    "OTEL_": "the OpenTelemetry SDK: the service's name and which part of the requests is traced",
    "AZURE_CLIENT_ID": "azure-identity: which of the identities to be",
    "PGSSLROOTCERT": "libpq: whom it trusts to sign a server's certificate",
}
"""Settings (or how they begin) that something else than our code reads, and what."""
FROM_THE_VAULT = (
    "KEY_PEPPER", "CACHE_KEY", "TOKEN_KEYRING", "SVIX_TOKEN", "SVIX_OPERATIONAL_SECRET", "XANO_API_KEY",
    "METRICS_TOKEN",
)  # fmt: skip
"""Secrets: the app reads them from the vault that KEY_VAULT_URI names, each in small letters with dashes."""
DEFAULT_IS_RIGHT = {
    "SECRETS_REFRESH_SECONDS": "fourteen minutes",
    "AUDIT_HOT_DAYS": "ninety days",
    "SYNC_SLICE_SECONDS": "below the platform's cap",
    "SYNC_LEASE_SECONDS": "no need to differ",
    "SYNC_BACKOFF_SECONDS": "no need to differ",
    "SYNC_JOBS_AT_ONCE": "no need to differ",
    "SYNC_DISABLE_FAILURES": "no need to differ",
    "SYNC_DISABLE_DAYS": "no need to differ",
    "RETENTION_EVENT_DAYS": "the code's own times are the house's rule",
    "RETENTION_OUTBOX_DAYS": "the code's own times are the house's rule",
    "RETENTION_INBOX_DAYS": "the code's own times are the house's rule",
    "RETENTION_RECORD_DAYS": "the code's own times are the house's rule",
    "RETENTION_REVIEW_DAYS": "the code's own times are the house's rule",
    "RETENTION_JOB_DAYS": "the code's own times are the house's rule",
    "RETENTION_TIMER_RUN_DAYS": "the code's own times are the house's rule",
    "ADMIN_RATE_LIMIT_PER_MINUTE": "no need to differ",
    "AUTH_FAILURES_PER_MINUTE": "no need to differ",
    "KEY_HASH_COST": "no need to differ",
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
    """What the process would see: names that Azure gave, and the vault's secrets."""
    key = base64.b64encode(bytes(32)).decode()
    secrets = dict.fromkeys(FROM_THE_VAULT, "a-secret")
    secrets |= {"KEY_PEPPER": key, "CACHE_KEY": key, "TOKEN_KEYRING": json.dumps({"k1": key})}
    return secrets | {name: azure_filled_in(value) for name, value in values.items()}


def azure_filled_in(value: str) -> str:
    if not isinstance(value, Unknown):
        return value
    address = "https://name.example.net/" if value.startswith("«") else "name.example.net"
    return re.sub("«[^»]*»", address, value)


def read_by_the_code() -> set[str]:
    """By settings.py, with nothing set and with all that the templates set, and by the timers' schedules."""
    loads = [each for name, each in vars(settings).items() if name.startswith("load") and callable(each)]
    asked: set[str] = set()
    for load in loads:
        for values in ({}, as_in_azure(deployed("prod"))):
            recording = Recording(values)
            with suppress(settings.SettingsError):
                load(recording)
            asked |= recording.asked
    return asked | schedules()


def schedules() -> set[str]:
    return set(re.findall(r"%([A-Z_]+)%", TABLE.read_text()))


def strays(names: set[str], listed: Mapping[str, str]) -> set[str]:
    return {name for name in names if not any(name == each or name.startswith(each) for each in listed)}


def test_every_setting_the_code_reads_is_set_or_listed() -> None:
    missing = read_by_the_code() - deployed("prod").keys() - DEFAULT_IS_RIGHT.keys() - set(FROM_THE_VAULT)
    assert missing == set()


def test_every_setting_that_is_set_is_read() -> None:
    unread = deployed("prod").keys() - read_by_the_code()
    assert strays(set(unread), NOT_OURS) == set()


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
    assert schedules() <= set_here.keys()
    assert [name for name, value in set_here.items() if not re.fullmatch(r"([\d*/,-]+ ){5}[\d*/,-]+", value)] == []


def test_settings_stand_in_one_place() -> None:
    homes = [path.name for path in TEMPLATES.rglob("*.bicep") if "AzureWebJobsStorage__" in path.read_text()]
    assert homes == ["functionapp.bicep"]


def test_no_secret_is_set_and_each_is_read() -> None:
    assert set(FROM_THE_VAULT) & deployed("prod").keys() == set()
    assert set(FROM_THE_VAULT) <= read_by_the_code()
    assert set(getattr(settings, "SECRETS", FROM_THE_VAULT)) == set(FROM_THE_VAULT)


def test_the_certificates_it_trusts_are_in_the_package() -> None:
    assert deployed("prod")["PGSSLROOTCERT"].endswith("/site-packages/certifi/cacert.pem")
    assert re.search(r"^certifi==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
