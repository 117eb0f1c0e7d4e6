"""Settings: everything that is wrong is named at once, and no value is ever shown."""

import json
from base64 import b64encode

import pytest

from shared_code.settings import Environment, SettingsError, load

KEY = b64encode(bytes(range(32))).decode()
GOOD = {
    "ENVIRONMENT": "production",
    "PUBLIC_URL": "https://gateway.example/",
    "DATABASE_URL": "postgresql://user:pw-database@db.example/pinksync",
    "REDIS_URL": "rediss://:pw-redis@redis.example:6380",
    "SVIX_TOKEN": "pw-svix",
    "XANO_API_URL": "https://x.xano.io/api:abc/",
    "XANO_API_KEY": "pw-xano",
    "KEY_PEPPER": KEY,
    "CACHE_KEY": KEY,
    "TOKEN_KEYRING": json.dumps({"k2": KEY, "k1": KEY}),
}
SHORT = b64encode(b"pw-short").decode()


def faults(**changes: str) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        load(GOOD | changes)
    return refusal.value.faults


def test_what_is_needed_is_enough_and_the_rest_has_defaults() -> None:
    settings = load(GOOD)
    assert settings.environment is Environment.PRODUCTION
    assert (settings.public_url, settings.xano_api_url) == ("https://gateway.example", "https://x.xano.io/api:abc")
    assert (settings.svix_url, settings.metrics_token, settings.audit_storage_connection_string) == (None, None, None)
    assert (settings.key_mode, settings.allow_loopback_egress, settings.database_pool_size) == ("live", False, 4)
    assert settings.key_pepper == bytes(range(32))


def test_the_timers_schedules_are_all_settings_named_so() -> None:
    schedules = {"OUTBOX_SCHEDULE": "*/5 * * * * *", "NEW_SCHEDULE": "0 0 3 * * *"}
    assert load(GOOD | schedules).schedules == schedules


def test_what_is_kept_is_counted_in_days() -> None:
    assert load(GOOD | {"RETENTION_OUTBOX_DAYS": "7"}).kept.outbox_days == 7
    assert faults(RETENTION_EVENT_DAYS="0") == ["RETENTION_EVENT_DAYS must be a whole number from 1 to 3650"]
    assert load(GOOD).audit_hot_days == 90


def test_the_keyring_keeps_its_order_newest_first() -> None:
    assert list(load(GOOD).token_keyring) == ["k2", "k1"]


def test_everything_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refusal:
        load({})
    assert refusal.value.faults == [f"{name} is missing" for name in GOOD]
    assert all(name in str(refusal.value) for name in GOOD)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", ["", "   "])
def test_each_needed_setting_is_named_when_it_is_empty(name: str, value: str) -> None:
    assert faults(**{name: value}) == [f"{name} is missing"]


@pytest.mark.parametrize("name", GOOD)
def test_a_key_vault_reference_that_was_not_resolved_is_no_value(name: str) -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/pw-name)"
    assert f"{name} is an unresolved Key Vault reference" in faults(**{name: reference})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "pw-staging"),
        ("KEY_PEPPER", "pw-not-base64!"),
        ("CACHE_KEY", SHORT),
        ("TOKEN_KEYRING", "pw-not-json"),
        ("TOKEN_KEYRING", "[]"),
        ("TOKEN_KEYRING", "{}"),
        ("TOKEN_KEYRING", json.dumps({"k1": SHORT})),
        ("TOKEN_KEYRING", json.dumps({"k.1": KEY})),
        ("TOKEN_KEYRING", json.dumps({"k1": 7})),
        ("KEY_MODE", "pw-mode"),
        ("ALLOW_LOOPBACK_EGRESS", "pw-maybe"),
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOL_SIZE", "101"),
        ("DATABASE_POOL_SIZE", "pw-four"),
        ("WEBHOOK_MAX_ATTEMPTS", "-1"),
        ("ADMIN_RATE_LIMIT_PER_MINUTE", "1.5"),
    ],
)
def test_a_bad_value_is_named_by_its_rule_and_not_shown(name: str, value: str) -> None:
    (fault,) = faults(**{name: value})
    assert fault.startswith(f"{name} must be ")
    assert "pw-" not in fault


def test_several_faults_of_several_kinds_come_together() -> None:
    found = faults(SVIX_TOKEN="", KEY_MODE="both", XANO_API_KEY="@Microsoft.KeyVault(x)", DATABASE_POOL_SIZE="0")
    assert [fault.split()[0] for fault in found] == ["SVIX_TOKEN", "XANO_API_KEY", "KEY_MODE", "DATABASE_POOL_SIZE"]


def test_production_never_calls_this_machine() -> None:
    assert faults(ALLOW_LOOPBACK_EGRESS="true") == ["ALLOW_LOOPBACK_EGRESS must not be set in production"]
    assert load(GOOD | {"ENVIRONMENT": "development", "ALLOW_LOOPBACK_EGRESS": "true"}).allow_loopback_egress


def test_in_production_keys_are_not_hashed_in_a_hurry() -> None:
    assert load(GOOD).key_hash_cost == 10
    assert faults(KEY_HASH_COST="9") == ["KEY_HASH_COST must be 10 or more in production"]
    assert load(GOOD | {"ENVIRONMENT": "development", "KEY_HASH_COST": "4"}).key_hash_cost == 4


def test_settings_show_no_secret() -> None:
    shown = repr(load(GOOD | {"METRICS_TOKEN": "pw-metrics", "AUDIT_STORAGE_CONNECTION_STRING": "pw-storage"}))
    assert "pw-" not in shown
    assert "\\x01\\x02" not in shown
