"""Events in: garbage is refused alike, whatever is wrong with it."""

from uuid import uuid4

import httpx
import pytest

from tests.functions.inbound.garbage import GARBAGE, raw
from tests.functions.inbound.messages import BODY, inbox, new_secret, order, send, shape, signed
from tests.functions.stack import Connected, Headers, Json, Stack, connecting, refused


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_like_all_garbage_and_nothing_is_kept(
    api: httpx.Client, stack: Stack, partner: Connected, secret: str, the_refusal: Json, name: str
) -> None:
    headers = raw(GARBAGE[name](secret))
    answer = api.post(f"/webhooks/partner/{partner.id}", headers=headers, content=BODY)
    assert shape(refused(answer, 400, "invalid_signature")) == the_refusal
    assert inbox(stack, partner) == []


@pytest.mark.parametrize("body", [b"\xff\xfe not UTF-8", b'{"type": "order.created", "data": {"n": "\xe9"}}'])
def test_a_body_that_is_not_utf_8_is_refused_even_if_it_is_signed(
    api: httpx.Client, partner: Connected, secret: str, the_refusal: Json, body: bytes
) -> None:
    assert shape(refused(send(api, partner, signed(secret, body), body), 400)) == the_refusal


def test_what_is_for_nobody_is_refused_like_garbage(
    api: httpx.Client, admin: Headers, partner: Connected, secret: str, the_refusal: Json
) -> None:
    """No partner, no id, no secret yet, another partner's secret: nobody learns which."""
    without_secret, other = connecting(api, admin)(), connecting(api, admin)()
    new_secret(api, other)
    headers = signed(secret, BODY)
    for whom in (uuid4(), "nobody", "%00", "x" * 500, without_secret.id, other.id):
        answer = api.post(f"/webhooks/partner/{whom}", headers=headers, content=BODY)
        assert shape(refused(answer, 400, "invalid_signature")) == the_refusal, whom
    assert send(api, partner, headers, BODY).status_code == 200


def test_a_partner_that_was_removed_sends_us_nothing_any_more(
    api: httpx.Client, admin: Headers, partner: Connected, secret: str, the_refusal: Json
) -> None:
    assert api.delete(partner.path, headers=admin).status_code == 204
    assert shape(refused(send(api, partner, signed(secret, BODY), BODY), 400)) == the_refusal


def test_a_body_that_is_too_long_is_refused_before_it_is_read(
    api: httpx.Client, partner: Connected, secret: str
) -> None:
    body = order(note="x" * 1_100_000)
    refused(send(api, partner, signed(secret, body), body), 413)
