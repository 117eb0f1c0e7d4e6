"""The rules of OAuth connections that need nobody."""

from datetime import timedelta
from uuid import uuid4

import pytest

from shared_code.model import ConnectionStatus, OAuthConnection, OAuthGrant, OAuthProvider
from shared_code.services.connections import rest
from shared_code.services.oauth_refusals import EXPLAINED, Refusal, sent_by_another
from shared_code.services.tokens import LONGEST_REST
from tests.contracts.samples import NOW, SECOND


def connection(lives: timedelta | None) -> OAuthConnection:
    return OAuthConnection(
        partner_id=uuid4(),
        status=ConnectionStatus.CONNECTED,
        access_token_encrypted="sealed",
        refreshed_at=NOW,
        expires_at=None if lives is None else NOW + lives,
    )


@pytest.mark.parametrize(
    ("lives", "ageing_after"), [(3600, 3540), (601, 541), (600, 540), (100, 90), (10, 9), (1, 0.9), (0, 0)]
)
def test_a_token_is_renewed_in_its_last_minute_or_tenth(lives: float, ageing_after: float):
    one = connection(timedelta(seconds=lives))
    turn = NOW + timedelta(seconds=ageing_after)
    assert one.ageing(turn)
    assert not one.ageing(turn - timedelta(microseconds=1))
    assert not one.usable(NOW + timedelta(seconds=lives))


def test_a_token_that_does_not_say_when_it_ends_never_ages():
    assert not connection(None).ageing(NOW + timedelta(days=1000))
    assert connection(None).usable(NOW + timedelta(days=1000))


def test_rests_double_up_to_the_longest():
    assert [rest(failures, LONGEST_REST).total_seconds() for failures in (0, 1, 2, 6, 100)] == [5, 10, 20, 300, 300]


@pytest.mark.parametrize(
    ("settings", "issuer", "refused"),
    [
        (None, None, False),
        (None, "https://login.shop.example", False),
        (None, "https://LOGIN.shop.example:443/tenant/v2", False),
        (None, "http://login.shop.example", True),
        (None, "https://login.shop.example:8443", True),
        (None, "https://login.shop.example.evil.example", True),
        (None, "https://evil.example", True),
        (None, "login.shop.example", True),
        (None, "https://login.shop.example:x", True),
        (None, "", True),
        ("https://issuer.example", None, False),
        ("https://issuer.example", "https://issuer.example", False),
        ("https://issuer.example", "https://issuer.example/", True),
        ("https://issuer.example", "https://login.shop.example", True),
    ],
)
def test_an_answer_of_another_issuer_is_told_from_ours(settings: str | None, issuer: str | None, refused: bool):
    provider = OAuthProvider(
        partner_id=uuid4(),
        grant=OAuthGrant.AUTHORIZATION_CODE,
        authorize_url="https://login.shop.example/authorize",
        token_url="https://api.shop.example/token",
        issuer=settings,
        client_id="c",
        client_secret_encrypted="sealed",
        created_at=NOW,
        updated_at=NOW + SECOND,
    )
    assert sent_by_another(provider, issuer) is refused


def test_each_refusal_is_explained_in_our_words():
    assert EXPLAINED.keys() == set(Refusal)
