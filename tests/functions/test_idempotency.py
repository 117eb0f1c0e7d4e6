"""Idempotency-Key: the same request again is the same answer, and its work is done once."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.functions.stack import Connect, Connected, Headers, Json, Receiver, refused, steadily


@pytest.fixture
def once() -> Headers:
    return {"Idempotency-Key": f"test-{uuid4()}"}


def key_count(api: httpx.Client, partner: Connected) -> int:
    return api.get("/api/keys", headers=partner.key).json()["total"]


def test_the_same_request_again_gets_the_stored_answer_byte_for_byte(
    api: httpx.Client, connect: Connect, once: Headers
) -> None:
    partner = connect()
    first, second, third = (api.post("/api/keys", json={"name": "x"}, headers=partner.key | once) for _ in range(3))
    assert (first.status_code, "idempotency-replayed" in first.headers) == (201, False)
    assert first.content == second.content == third.content
    assert second.headers["idempotency-replayed"] == third.headers["idempotency-replayed"] == "true"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert key_count(api, partner) == 2


def test_connecting_twice_is_one_partner_with_the_same_secrets(
    api: httpx.Client, admin: Headers, once: Headers, receiver: Receiver
) -> None:
    body = {"name": "Once Ltd", "type": "vendor", "auth_method": "api_key", "webhook_url": receiver.url}
    body |= {"webhook_events": ["order.created"]}
    first, second = (api.post("/api/partners/connect", json=body, headers=admin | once) for _ in range(2))
    assert first.content == second.content
    assert first.headers["location"] == second.headers["location"]
    listed = api.get("/api/partners", params={"limit": 200}, headers=admin).json()["partners"]
    assert [each["name"] for each in listed].count("Once Ltd") == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/webhooks/register", {"url": "http://127.0.0.1:9/hook", "events": ["order.created"]}),
        ("/api/events", {"event_type": "order.created", "payload": {}}),
        ("/api/keys/{key_id}/rotate", {"grace_seconds": 600}),
    ],
)
def test_every_post_that_creates_or_sends_honours_it(
    api: httpx.Client, connect: Connect, once: Headers, path: str, body: Json
) -> None:
    partner = connect()
    path = path.format(key_id=partner.key_id)
    first, second = (api.post(path, json=body, headers=partner.key | once) for _ in range(2))
    assert first.is_success
    assert (first.content, first.status_code) == (second.content, second.status_code)
    assert second.headers["idempotency-replayed"] == "true"


def test_a_move_repeated_under_one_key_is_no_conflict(
    api: httpx.Client, admin: Headers, connect: Connect, once: Headers
) -> None:
    partner = connect()
    answers = [api.post(f"{partner.path}/suspend", headers=admin | once) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    refused(api.post(f"{partner.path}/suspend", headers=admin), 409)


@pytest.mark.parametrize("other", [{"name": "y"}, {"name": "x", "scopes": ["read:*"]}])
def test_another_body_under_the_same_key_is_refused(
    api: httpx.Client, connect: Connect, once: Headers, other: Json
) -> None:
    partner = connect()
    api.post("/api/keys", json={"name": "x"}, headers=partner.key | once).raise_for_status()
    refused(api.post("/api/keys", json=other, headers=partner.key | once), 422, "idempotency_key_reused")
    assert key_count(api, partner) == 2


def test_another_path_under_the_same_key_is_refused(
    api: httpx.Client, admin: Headers, connect: Connect, once: Headers
) -> None:
    first, second = connect(), connect()
    api.post(f"{first.path}/suspend", headers=admin | once).raise_for_status()
    refused(api.post(f"{second.path}/suspend", headers=admin | once), 422, "idempotency_key_reused")


def test_of_ten_twins_at_once_exactly_one_works(
    api: httpx.Client, admin: Headers, connect: Connect, once: Headers
) -> None:
    partners: list[Connected] = []

    def play() -> list[httpx.Response]:
        partner = connect()
        partners.append(partner)
        warm = api.get("/api/test", headers=partner.key)
        wish = {"url": "/api/keys", "json": {"name": "twin"}, "headers": partner.key | once}
        with ThreadPoolExecutor(10) as pool:
            return [warm, *pool.map(lambda _: api.post(**wish), range(10))]

    answers = steadily(play)[1:]
    assert {answer.status_code for answer in answers} <= {201, 409}
    done = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in done}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in done].count(None) == 1
    for answer in answers:
        if answer.status_code == 409:
            refused(answer, 409, "idempotency_in_flight")
            assert answer.headers["retry-after"] == "1"
    assert key_count(api, partners[-1]) == 2


def test_a_twin_is_never_told_what_is_not_the_last_word(
    api: httpx.Client, connect: Connect, receiver: Receiver, once: Headers
) -> None:
    """Registering settles after the commit: until it has, its twins wait."""
    partner = connect()
    wish = {"json": {"url": receiver.url, "events": ["order.created"]}, "headers": partner.key | once}
    with ThreadPoolExecutor(10) as pool:
        answers = [*pool.map(lambda _: api.post("/api/webhooks/register", **wish), range(10))]
    answers.append(api.post("/api/webhooks/register", **wish))
    assert answers[-1].status_code == 201
    assert {answer.content for answer in answers if answer.status_code == 201} == {answers[-1].content}
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {"idempotency_in_flight"}


def test_a_request_that_failed_is_not_kept(api: httpx.Client, partner: Connected, once: Headers) -> None:
    headers = partner.key | once
    refused(api.post("/api/keys", json={"name": ""}, headers=headers), 422, "invalid_body")
    refused(api.post("/api/keys", json={"name": "x", "scopes": ["admin"]}, headers=headers), 422, "scope_not_held")
    made = api.post("/api/keys", json={"name": "x"}, headers=headers)
    assert (made.status_code, "idempotency-replayed" in made.headers) == (201, False)


def test_a_key_is_one_clients_own(api: httpx.Client, partner: Connected, other: Connected, once: Headers) -> None:
    mine, theirs = (api.post("/api/keys", json={"name": "x"}, headers=who.key | once) for who in (partner, other))
    assert theirs.status_code == 201
    assert (mine.json()["partner_id"], theirs.json()["partner_id"]) == (partner.id, other.id)


def test_a_stored_answer_is_for_who_may_still_ask(
    api: httpx.Client, admin: Headers, connect: Connect, once: Headers
) -> None:
    """It holds a secret, so a revoked key or a suspended partner must not get it again."""
    partner = connect()
    api.post("/api/keys", json={"name": "x"}, headers=partner.key | once).raise_for_status()
    api.post(f"{partner.path}/suspend", headers=admin)
    refused(api.post("/api/keys", json={"name": "x"}, headers=partner.key | once), 403)
    api.post(f"{partner.path}/activate", headers=admin)
    api.delete(f"/api/keys/{partner.key_id}", headers=partner.key)
    refused(api.post("/api/keys", json={"name": "x"}, headers=partner.key | once), 401)


@pytest.mark.parametrize("key", ["with space", "x" * 256, "é"])
def test_a_key_that_cannot_be_one_is_refused(api: httpx.Client, partner: Connected, key: str) -> None:
    headers = {name.encode(): value.encode() for name, value in (partner.key | {"Idempotency-Key": key}).items()}
    refused(api.post("/api/keys", json={"name": "x"}, headers=headers), 400, "bad_request")
