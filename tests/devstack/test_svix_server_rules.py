"""The Svix-compatible server's rules that need no server (facts/svix.md §2, §5)."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from devstack.svix_server import auth, clock, ids, signing
from devstack.svix_server.addresses import blocked, literal
from devstack.svix_server.auth import Permissions, Tokens, app_token, org_token
from devstack.svix_server.errors import ApiError
from devstack.svix_server.raw_json import members
from devstack.svix_server.retry import first_failure, retry_after_seconds, retry_delay
from devstack.svix_server.settings import Settings, SettingsError
from devstack.svix_server.webhook_client import WebhookResponse

SETTINGS = Settings(jwt_secret="secret", retry_schedule=(1, 10))
FAILED = WebhookResponse(status_code=500, body="", duration_ms=1)


def test_ids_decode_as_svix_ids_do():
    assert ids.timestamp_ms("274DTsX0wVTSLvo91QopQgZrjDV") == 1648570475136


@pytest.mark.parametrize(
    ("prefix", "length"), [(ids.APP, 31), (ids.MESSAGE, 31), (ids.ENDPOINT, 30), (ids.ATTEMPT, 33)]
)
def test_ids_have_svix_lengths(prefix: str, length: int):
    assert len(ids.new_id(prefix, clock.now())) == length


def test_ids_of_one_moment_rise_and_lie_between_its_bounds():
    now = clock.now()
    made = [ids.new_id(ids.MESSAGE, now) for _ in range(500)]
    assert made == sorted(set(made))
    assert ids.start_id(ids.MESSAGE, now) <= made[0] < made[-1] <= ids.end_id(ids.MESSAGE, now)


def test_moments_are_written_in_utc_with_microseconds():
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert clock.rfc3339(clock.micros(moment)) == "2026-01-02T03:04:05.000006Z"


@pytest.mark.parametrize(
    "payload",
    [
        '{"price": 1.10, "price": 1.1}',
        '{ "e":"\\u00e9\\ud800" ,"n": 12345678901234567890123 }',
        '{"deep": [[{"}": "]"}]], "quote": "\\"{"}',
        '{"digits": ' + "9" * 5000 + "}",
        '{"é": "☃"}',
    ],
)
def test_the_raw_text_of_a_member_is_sliced_not_rebuilt(payload: str):
    found = members(f'\n{{ "eventType" : "a" , "payload":\t{payload} ,"channels":null}} ')
    assert found["payload"].raw == payload
    assert found["eventType"].value == "a"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), json_values), st.sampled_from([None, 2]))
def test_every_member_of_any_object_is_sliced(value: dict[str, object], indent: int | None):
    found = members(json.dumps(value, indent=indent))
    assert {name: json.loads(member.raw) for name, member in found.items()} == value


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a":1,}', '{"a":NaN}', '{"a":1}x', '{"a":1,"a":2}', '{"a":' + "[" * 99999]
)
def test_what_is_no_json_object_is_refused(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 (any kind of it)
        members(text)


def test_retries_follow_the_schedule_and_then_end():
    assert [retry_delay(SETTINGS, count, FAILED) for count in (0, 1, 2)] == [1, 10, None]


@pytest.mark.parametrize(("asked", "delay"), [("0", 10), ("12.5", 13), ("900", 20), ("soon", 10)])
def test_retry_after_counts_between_once_and_twice_the_delay(asked: str, delay: float):
    failed = WebhookResponse(status_code=503, body="", duration_ms=1, retry_after=asked)
    assert retry_delay(SETTINGS, 1, failed) == delay


def test_retry_after_may_be_a_date():
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after_seconds(in_a_minute) == pytest.approx(60, abs=2)


def test_jitter_stays_within_its_bounds():
    chosen = Settings(jwt_secret="s", retry_schedule=(10,), jitter=0.2)
    delays = [retry_delay(chosen, 0, FAILED) for _ in range(200)]
    assert all(delay is not None and 8 <= delay <= 12 for delay in delays)
    assert len(set(delays)) > 100


def test_a_timeout_waits_at_least_the_overload_penalty():
    chosen = Settings(jwt_secret="s", retry_schedule=(5,), overload_penalty=60)
    timed_out = WebhookResponse(status_code=0, body="", duration_ms=1, timed_out=True)
    assert retry_delay(chosen, 0, timed_out) == 60


def test_an_endpoint_is_given_up_when_it_has_failed_for_longer_than_the_period():
    now, period = clock.now(), clock.from_seconds(SETTINGS.disable_after)
    assert first_failure(SETTINGS, None, now) == (now, False)
    assert first_failure(SETTINGS, now - period, now) == (now - period, False)
    assert first_failure(SETTINGS, now - period - 1, now) == (now - period - 1, True)
    assert first_failure(SETTINGS, now - 2 * period - 1, now) == (now, False), "forgotten after two periods"


@pytest.mark.parametrize(
    "address",
    [
        *("0.1.2.3", "10.0.0.1", "100.64.1.1", "169.254.169.254", "172.16.0.1", "192.0.0.8", "192.0.2.1"),
        *("192.88.99.3", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.1.2.3", "233.252.0.16"),
        *("240.0.0.1", "255.255.255.255", "::", "fe80::1", "fc00::1", "2001:db8::1", "3fff::dead:beef", "100::1"),
        *("2002::1", "64:ff9b::c0a8:0", "64:ff9b::808:808", "64:ff9b:1::1", "5f00::dead:beef", "ff02::1"),
        *("::ffff:10.0.0.1", "::ffff:192.168.0.1"),
    ],
)
def test_addresses_that_are_nobodys_business_are_blocked(address: str):
    assert blocked(ip_address(address), allow_loopback=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_a_matter_of_setting(address: str):
    assert not blocked(ip_address(address), allow_loopback=True)
    assert blocked(ip_address(address), allow_loopback=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_pass(address: str):
    assert not blocked(ip_address(address), allow_loopback=False)


def test_literal_hosts_are_seen_through_brackets_and_scopes():
    assert literal("[fe80::1%eth0]") == ip_address("fe80::1")
    assert literal("example.com") is None


def test_a_signature_for_each_key_verifies():
    keys = [signing.generate_secret(), signing.generate_secret()]
    body, now = b'{"a":1.10}', clock.now()
    timestamp = signing.timestamp(now)
    signed = signing.signatures(keys, "msg_1", timestamp, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(timestamp), "webhook-signature": signed}
    for key in keys:
        assert Webhook(key).verify(body, headers) == {"a": 1.1}


def test_an_ed25519_key_signs_and_shows_its_public_half_only():
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    secret = signing.checked_secret("whsk_" + b64encode(private.private_bytes_raw() + public).decode())
    assert signing.public_key(secret) == "whpk_" + b64encode(public).decode()
    signed = signing.signatures([secret], "msg_1", 5, b"{}")
    assert signed == "v1a," + b64encode(private.sign(b"msg_1.5.{}")).decode()


@pytest.mark.parametrize(
    "secret", ["", "c2VjcmV0", "whsec_c2hvcnQ=", "whsec_***", "whsk_c2hvcnQ=", "whsec_" + "A" * 104]
)
def test_bad_secrets_are_refused(secret: str):
    with pytest.raises(ValueError):  # noqa: PT011 (binascii's is one, too)
        signing.checked_secret(secret)


def test_tokens_are_the_jwts_that_any_library_reads():
    claims = jwt.decode(org_token("s" * 32), "s" * 32, algorithms=["HS256"], issuer="svix-server")
    assert claims["sub"] == auth.DEFAULT_ORG
    assert claims["exp"] - claims["iat"] == 10 * 365 * 86_400


def test_tokens_say_who_may_do_what():
    tokens = Tokens("secret")
    assert tokens.permissions(f"Bearer {org_token('secret')}") == Permissions(auth.DEFAULT_ORG)
    portal = app_token("secret", "app_1", "org_2")
    assert tokens.permissions(f"Bearer {portal}") == Permissions("org_2", "app_1")


@pytest.mark.parametrize(
    ("header", "status", "detail"),
    [
        ("", 401, "Invalid token"),
        ("Basic abc", 401, "Invalid token"),
        ("Bearer a.b.c", 401, "Invalid token"),
        (f"Bearer {org_token('another secret')}", 401, "Invalid token"),
        ("Bearer secret", 401, "this is the JWT secret itself"),
        (f"Bearer {org_token('secret', 'usr_1')}", 400, "not a valid organization id"),
        (f"Bearer {app_token('secret', 'ep_1')}", 400, "not a valid application id"),
    ],
)
def test_bad_tokens_are_refused(header: str, status: int, detail: str):
    with pytest.raises(ApiError) as refused:
        Tokens("secret").permissions(header)
    assert refused.value.status == status
    assert detail in str(refused.value.body["detail"])


@pytest.mark.parametrize("claims", [{"exp": 1}, {"nbf": 4102444800}, {"exp": "never"}, {"sub": None}])
def test_tokens_out_of_their_time_are_refused(claims: dict[str, object]):
    token = jwt.encode({"sub": auth.DEFAULT_ORG} | claims, "k" * 32, algorithm="HS256") if claims.get("sub", 1) else ""
    with pytest.raises(ApiError):
        Tokens("k" * 32).permissions(f"Bearer {token}")


def test_a_token_signed_another_way_is_refused():
    with pytest.raises(ApiError):
        Tokens("k" * 64).permissions("Bearer " + jwt.encode({"sub": "org_1"}, "k" * 64, algorithm="HS512"))


def test_settings_name_everything_that_is_wrong():
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"DEVSTACK_SVIX_RETRY": "1,x", "DEVSTACK_SVIX_ALLOW_LOOPBACK": "yes"})
    for name in ("JWT_SECRET", "RETRY", "ALLOW_LOOPBACK"):
        assert f"DEVSTACK_SVIX_{name}" in str(refused.value)


def test_an_empty_schedule_means_one_attempt():
    chosen = Settings.from_environment({"DEVSTACK_SVIX_JWT_SECRET": "s", "DEVSTACK_SVIX_RETRY": ""})
    assert chosen.retry_schedule == ()
