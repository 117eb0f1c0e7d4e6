"""Redaction: no form of a secret and none of this process's own comes through; ordinary words do."""

import io
import logging
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_code import redaction
from shared_code.redaction import MASK, redact, redact_mapping
from shared_code.services import key_format

SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=16, max_size=60).map(
    lambda text: f"cNrY{text}"
)
PLACES = [
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "{{'Authorization': 'Bearer {}'}}",
    "{{'X-API-Key': '{}'}}",
    "(b'x-api-key', b'{}')",
    '{{"client_secret": "{}", "ok": 1}}',
    '{{\\"refresh_token\\": \\"{}\\"}}',
    "Bearer {}",
    "GET https://gateway.example/oauth/callback?state=x1&code={}&iss=y",
    "GET /oauth/authorize/7?link={}",
    "https://x.example/?api_key={}#there",
    "https://account.table.example/t?sv=1&sig={}",
    "postgresql://pinksync:{}@db.example/pinksync?sslmode=require",
    "rediss://:{}@redis.example:6380/0",
    "host=db password={} user=me",
    "AccountName=a;AccountKey={};TableEndpoint=http://x",
    "whsec_{}",
    "testsk_{}.eu",
    "eyJhbGciOiJIUzI1NiJ9.{}.c2ln",
    "@Microsoft.KeyVault(SecretUri=https://v.example/secrets/{})",
    "Set-Cookie: {}",
    "two of them: Bearer {0} and ?token={0}",
]


@given(SECRET, st.sampled_from(PLACES), st.text(max_size=30), st.text(max_size=30))
def test_no_secret_comes_through_in_any_place(secret: str, place: str, before: str, after: str) -> None:
    text = f"{before} {place.format(secret)} {after}"
    assert secret not in redact(text)
    assert redact(redact(text)) == redact(text)


@given(st.lists(st.sampled_from([*redaction.HINTS, " ", "x", "'", ":", "=", "@", "abcdefgh"]) | st.text(max_size=5)))
def test_no_text_without_a_hint_has_a_form(parts: list[str]) -> None:
    text = "".join(parts)
    hinted = any(hint in text.lower() for hint in redaction.HINTS)
    assert hinted or not redaction.FORMS.search(text)


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_key_of_ours_keeps_the_part_that_finds_it() -> None:
    key = key_format.mint("live").text
    assert redact(f"key {key}, again") == f"key {key[:20]}_{MASK}, again"
    assert redact(f"id {key[:20]} alone") == f"id {key[:20]} alone"


@pytest.mark.parametrize(
    "text",
    [
        "outbox_relay: 3 items done",
        "a1b2 partners_connect: store_unavailable (PoolTimeout)",
        "redis does not answer (TimeoutError); serving from this process's memory",
        "the webhook service refuses our token (401): check SVIX_TOKEN",
        "PinkSync cannot start: KEY_PEPPER is missing; TOKEN_KEYRING must be 32 bytes in base64",
        "partner 1f0c is active, state registered, code 7",
        "HTTP/1.1 200 OK https://partner.example/v1/orders?limit=50&cursor=abc",
    ],
)
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What a test makes known is unknown again after it."""
    before = list(redaction._known)
    yield
    redaction._known[:] = before


@pytest.mark.usefixtures("forgetful")
def test_the_values_of_this_process_go_whatever_they_look_like() -> None:
    redaction.remember(["plain words here", "a+b/c==d", "tiny", ""])
    assert redact("it says plain words here, doesn't it") == f"it says {MASK}, doesn't it"
    assert redact("q=a+b/c==d&r=a%2Bb%2Fc%3D%3Dd") == f"q={MASK}&r={MASK}"
    assert redact("a tiny one") == "a tiny one"
    redaction.remember(["another value"])
    assert redact("plain words here, another value") == f"{MASK}, {MASK}"


def test_attributes_are_hidden_by_name_and_cleaned_by_form() -> None:
    found = redact_mapping(
        {
            "http.request.header.authorization": "abc",
            "db.password": "abc",
            "url.full": "https://x.example/?token=abcdef",
            "http.status_code": 200,
            "name": "orders",
        }
    )
    assert found == {
        "http.request.header.authorization": MASK,
        "db.password": MASK,
        "url.full": f"https://x.example/?token={MASK}",
        "http.status_code": 200,
        "name": "orders",
    }


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Handlers before and after the installation, as the worker and telemetry add theirs."""
    written, factory = io.StringIO(), logging.getLogRecordFactory()
    logger = logging.getLogger("pinksync.test_redaction")
    logger.propagate = False
    early, late = logging.StreamHandler(written), logging.StreamHandler(written)
    early.setFormatter(logging.Formatter("%(message)s %(given)s", defaults={"given": ""}))
    logger.addHandler(early)
    redaction.install()
    redaction.install()
    logger.addHandler(late)
    yield written
    logger.handlers.clear()
    logging.setLogRecordFactory(factory)


def test_every_handler_writes_clean_records(log: io.StringIO) -> None:
    logger = logging.getLogger("pinksync.test_redaction")
    logger.warning("sent %s", "Bearer canary-canary", extra={"given": "?token=canary"})
    try:
        raise ValueError("postgresql://me:canary@db/x") from KeyError("whsec_canary")
    except ValueError:
        logger.exception("failed with %d", 7)
    logger.warning("one\nline")
    text = log.getvalue()
    assert "canary" not in text
    assert text.count(f"sent Bearer {MASK}") == 2
    assert text.count("ValueError: postgresql://me:***@db/x") == 2
    assert text.count("one\\nline") == 2


def test_a_record_that_cannot_be_formatted_breaks_nothing(log: io.StringIO) -> None:
    record = logging.getLogger("x").makeRecord("x", 30, "f", 1, "%d of %s", ("a",), None)
    assert record.args == ("a",)


def test_redaction_takes_microseconds_and_grows_with_the_text_alone() -> None:
    line = "a1b2 proxy_call: upstream_unreachable (ConnectError) https://partner.example/v1?limit=50 " * 2
    assert seconds(line, 200) < 0.0005
    assert seconds("4bf92f3577b34da6a3ce929d0e0e4736", 200) < 0.0001
    assert seconds("=:\"' password " * 5000, 1) < 1
    assert seconds("authorization" * 20_000, 1) < 1
    assert seconds("a://" * 50_000, 1) < 1


def seconds(text: str, times: int) -> float:
    """Of the processor's time, as other tests run beside this."""
    started = time.process_time()
    for _ in range(times):
        redact(text)
    return (time.process_time() - started) / times
