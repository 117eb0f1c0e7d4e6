"""POST /webhooks/svix: only what Svix signed is heard."""

import json
from uuid import uuid4

import httpx
import pytest

from tests.functions.inbound.garbage import GARBAGE, raw
from tests.functions.inbound.messages import BODY, send, shape, signed
from tests.functions.stack import Connected, Headers, Json, Stack, refused


def tell(api: httpx.Client, headers: Headers, body: bytes) -> httpx.Response:
    return api.post("/webhooks/svix", headers=headers, content=body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "endpoint.created", "data": {"appUid": null}}',
        b'{"type": "message.attempt.log", "data": [1]}',
        b'{"type": "of.the.future", "data": {"appUid": "00000000-0000-0000-0000-000000000000"}}',
        b'{"type": 5, "data": 7}',
        b"not JSON",
        b"[]",
        b"",
        json.dumps({"type": "message.attempt.failing", "data": {"appUid": str(uuid4()), "msgEventId": "e"}}).encode(),
        json.dumps({"type": "message.attempt.exhausted", "data": {"appUid": str(uuid4()), "msgEventId": 5}}).encode(),
        json.dumps({"type": "message.attempt.failing", "data": {"appUid": str(uuid4()), "msgEventId": "\0"}}).encode(),
        json.dumps({"type": "endpoint.disabled", "data": {"appUid": str(uuid4()), "endpointId": "ep_1"}}).encode(),
        json.dumps({"type": "endpoint.disabled", "data": {"appUid": str(uuid4()), "endpointId": "\0"}}).encode(),
    ],
)
def test_what_svix_says_of_nobody_or_of_nothing_known_is_taken_and_ignored(
    api: httpx.Client, stack: Stack, body: bytes
) -> None:
    answer = tell(api, signed(stack.env["SVIX_OPERATIONAL_SECRET"], body), body)
    assert (answer.status_code, answer.json()["received"]) == (200, True)


@pytest.mark.parametrize("name", GARBAGE)
def test_what_svix_did_not_sign_is_refused_like_all_garbage(
    api: httpx.Client, stack: Stack, the_refusal: Json, name: str
) -> None:
    headers = raw(GARBAGE[name](stack.env["SVIX_OPERATIONAL_SECRET"]))
    answer = api.post("/webhooks/svix", headers=headers, content=BODY)
    assert shape(refused(answer, 400, "invalid_signature")) == the_refusal


def test_a_partners_secret_does_not_make_it_svix(
    api: httpx.Client, secret: str, stack: Stack, partner: Connected, the_refusal: Json
) -> None:
    assert shape(refused(tell(api, signed(secret, BODY), BODY), 400)) == the_refusal
    svix = signed(stack.env["SVIX_OPERATIONAL_SECRET"], BODY)
    assert shape(refused(send(api, partner, svix, BODY), 400)) == the_refusal
