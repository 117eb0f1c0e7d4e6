"""Events in: what is rightly signed is taken, by either set of names, during a rotation too."""

import time
from datetime import UTC, datetime, timedelta, tzinfo
from uuid import uuid4

import httpx
import pytest
import standardwebhooks.webhooks
from svix.webhooks import Webhook

from shared_code.adapters import svix_signature
from tests.functions.inbound.messages import BODY, deliver, new_secret, order, send, shape, signature, signed
from tests.functions.stack import Connected, Headers, Json, connecting, refused

VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
]
"""Svix's documentation and Standard Webhooks' own tests."""


@pytest.mark.parametrize("prefix", ["svix", "webhook"])
@pytest.mark.parametrize(("secret", "message_id", "timestamp", "body", "official"), VECTORS)
def test_the_official_vector_verifies(
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    secret: str,
    message_id: str,
    timestamp: int,
    body: bytes,
    official: str,
) -> None:
    then = datetime.fromtimestamp(timestamp, UTC)

    class Then(datetime):
        """The library asks for the time itself."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return then.astimezone(tz)

    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Then)
    headers = {f"{prefix}-id": message_id, f"{prefix}-timestamp": str(timestamp), f"{prefix}-signature": official}
    assert signature(secret, message_id, timestamp, body) == official
    assert svix_signature.signed(secret, headers, body, then) == message_id
    assert svix_signature.signed(secret, headers, body + b" ", then) is None
    assert svix_signature.signed(secret, headers, body, then + timedelta(seconds=301)) is None


@pytest.mark.parametrize("library", [Webhook, standardwebhooks.Webhook])
@pytest.mark.parametrize("prefix", ["svix", "webhook"])
def test_what_an_official_library_signs_is_taken_under_either_set_of_names(
    api: httpx.Client, partner: Connected, secret: str, library: type[Webhook], prefix: str
) -> None:
    now, body = datetime.now(UTC), order(note="Grüße ✓")
    right = library(secret).sign("msg_lib", now, body.decode())
    headers = {
        f"{prefix}-id": "msg_lib",
        f"{prefix}-timestamp": str(int(now.timestamp())),
        f"{prefix}-signature": f"v1,{'A' * 43}= {right}",
    }
    assert send(api, partner, headers, body).json() == {"received": True, "duplicate": False}


@pytest.mark.parametrize("others", [f"v1a,{'A' * 86}==", f"v2,{'A' * 43}= v3,AAAA", f"v1,{'A' * 43}= v2,{'A' * 43}="])
def test_signatures_of_other_schemes_are_passed_over(
    api: httpx.Client, partner: Connected, secret: str, others: str
) -> None:
    """As Svix's own tests have it: the right one may stand anywhere in the list."""
    headers = signed(secret, BODY)
    headers["svix-signature"] = f"{others} {headers['svix-signature']} {others}"
    assert send(api, partner, headers, BODY).json() == {"received": True, "duplicate": False}


@pytest.mark.parametrize("away", [-280, 280])
def test_a_clock_that_is_almost_five_minutes_off_is_near_enough(
    api: httpx.Client, partner: Connected, secret: str, away: int
) -> None:
    assert send(api, partner, signed(secret, BODY, at=int(time.time()) + away), BODY).status_code == 200


def test_during_a_rotation_both_secrets_are_taken_and_after_it_the_new_one(
    api: httpx.Client, partner: Connected, secret: str, the_refusal: Json
) -> None:
    new = new_secret(api, partner, grace_seconds=3600)
    assert new != secret
    deliver(api, partner, secret, BODY)
    deliver(api, partner, new, BODY)
    newest = new_secret(api, partner, grace_seconds=0)
    deliver(api, partner, newest, BODY)
    for old in (secret, new):
        assert shape(refused(send(api, partner, signed(old, BODY), BODY), 400)) == the_refusal


def test_a_secret_is_made_for_its_partner_alone(api: httpx.Client, admin: Headers, partner: Connected) -> None:
    other = connecting(api, admin)()
    refused(api.post(f"{partner.path}/inbound-secret", json={}, headers=other.key), 404, "not_found")
    refused(api.post(f"{partner.path}/inbound-secret", json={}), 401)
    refused(api.post(f"{partner.path}/inbound-secret", json={"grace_seconds": -1}, headers=partner.key), 422)
    refused(api.post(f"/api/partners/{uuid4()}/inbound-secret", json={}, headers=admin), 404)
    made = api.post(f"{partner.path}/inbound-secret", json={}, headers=admin)
    assert made.json()["secret"] not in api.get("/api/logs", headers=partner.key).text
