"""Webhook endpoints after their first day: changed, removed, given a new secret, tried out, made good again."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import standardwebhooks
from svix.webhooks import Webhook, WebhookVerificationError

from tests.functions.stack import (
    Connect,
    Connected,
    Headers,
    Json,
    Receiver,
    pointers,
    publish,
    refused,
    register,
)
from tests.services import eventually, web
from tests.shared_servers import ask


@pytest.fixture
def own(connect: Connect) -> Connected:
    """This test's own partner."""
    return connect()


def opened(api: httpx.Client, partner: Connected, receiver: Receiver, *events: str) -> Json:
    """The receiver as an endpoint that Svix knows; on a busy machine the answer may be there before that."""
    made = register(api, partner.key, receiver, *events)
    eventually(lambda: api.get(path(made), headers=partner.key).json()["state"] == "registered")
    return made


def path(endpoint: Json, action: str = "") -> str:
    return f"/api/webhooks/{endpoint['endpoint_id']}{action}"


def patch(api: httpx.Client, partner: Connected, endpoint: Json, **changes: object) -> Json:
    answer = api.patch(path(endpoint), json=changes, headers=partner.key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def statuses(api: httpx.Client, partner: Connected) -> dict[str, str]:
    """What became of each event of a partner with one endpoint."""
    found = api.get("/api/webhooks/deliveries", params={"limit": 200}, headers=partner.key).json()["deliveries"]
    return {each["event_id"]: each["status"] for each in found}


# ── Changed ──────────────────────────────────────────────────────────────────────────────────────


def test_a_changed_url_filter_and_description_count_from_then_on(
    api: httpx.Client, own: Connected, partner_url: str
) -> None:
    before, after = Receiver(partner_url), Receiver(partner_url)
    endpoint = opened(api, own, before)
    after.tell(secret=endpoint["secret"])
    changes = {"url": after.url, "events": ["inventory.updated"], "description": "Lager ✓"}
    changed = patch(api, own, endpoint, **changes)
    kept = {name: endpoint[name] for name in ("endpoint_id", "enabled", "created_at")} | {"state": "registered"}
    assert changed == changes | kept == api.get(path(endpoint), headers=own.key).json()

    publish(api, own.key, "order.created")
    stock = publish(api, own.key, "inventory.updated")
    assert after.wait_for(1)[0]["verified"]
    assert statuses(api, own).keys() == {stock}
    assert before.received() == []


def test_what_a_change_does_not_name_stays(api: httpx.Client, own: Connected, receiver: Receiver) -> None:
    endpoint = opened(api, own, receiver)
    shown = api.get(path(endpoint), headers=own.key).json()
    assert patch(api, own, endpoint) == shown
    assert patch(api, own, endpoint, description="new") == shown | {"description": "new"}
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": ""}, "/url"),
        ({"url": "ftp://shop.example/hook"}, "/url"),
        ({"url": "http://shop.example/hook"}, "/url"),
        ({"url": "https://2130706433/"}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["order.created", "no.such.type"]}, "/events/1"),
        ({"description": "x" * 1001}, "/description"),
        ({"enabled": "yes"}, "/enabled"),
        ({"secret": "whsec_mine"}, "/secret"),
        ({"endpoint_id": "ep_mine"}, "/endpoint_id"),
    ],
)
def test_a_wrong_change_is_refused_where_it_is_wrong_and_changes_nothing(
    api: httpx.Client, partner: Connected, receiver: Receiver, change: Json, pointer: str
) -> None:
    endpoint = opened(api, partner, receiver)
    shown = api.get(path(endpoint), headers=partner.key).json()
    body = {"description": "changed"} | change
    assert pointers(refused(api.patch(path(endpoint), json=body, headers=partner.key), 422)) == [pointer]
    assert api.get(path(endpoint), headers=partner.key).json() == shown


def test_while_it_is_disabled_events_are_skipped_and_the_others_still_arrive(
    api: httpx.Client, own: Connected, partner_url: str
) -> None:
    off, on = Receiver(partner_url), Receiver(partner_url)
    endpoint = opened(api, own, off)
    opened(api, own, on)
    assert patch(api, own, endpoint, enabled=False)["enabled"] is False
    event_id = publish(api, own.key)
    on.wait_for(1)
    query = {"event_id": event_id, "endpoint_id": endpoint["endpoint_id"]}
    (skipped,) = api.get("/api/webhooks/deliveries", params=query, headers=own.key).json()["deliveries"]
    assert skipped["status"] == "skipped"
    assert (skipped["attempt_count"], skipped["next_retry_at"], skipped["response_code"]) == (0, None, None)

    patch(api, own, endpoint, enabled=True)
    publish(api, own.key, payload={"n": 2})
    assert [json.loads(each["body"]) for each in off.wait_for(1)] == [{"n": 2}]


# ── Removed ──────────────────────────────────────────────────────────────────────────────────────


def test_a_removed_endpoint_is_gone_and_its_log_stays(api: httpx.Client, own: Connected, receiver: Receiver) -> None:
    endpoint = opened(api, own, receiver)
    event_id = publish(api, own.key)
    receiver.wait_for(1)
    removed = api.delete(path(endpoint), headers=own.key)
    assert (removed.status_code, removed.content) == (204, b"")

    refused(api.get(path(endpoint), headers=own.key), 404, "not_found")
    refused(api.patch(path(endpoint), json={"enabled": True}, headers=own.key), 404)
    refused(api.delete(path(endpoint), headers=own.key), 404)
    refused(api.post(path(endpoint, "/rotate-secret"), json={}, headers=own.key), 404)
    assert api.get(f"{own.path}/webhooks", headers=own.key).json()["webhooks"] == []
    publish(api, own.key)
    eventually(lambda: statuses(api, own) == {event_id: "delivered"})
    assert len(receiver.received()) == 1


ACTIONS = [
    ("GET", "", None),
    ("PATCH", "", {"enabled": False}),
    ("DELETE", "", None),
    ("POST", "/rotate-secret", {}),
    ("POST", "/test", {}),
    ("POST", "/recover", {"since": "2026-01-01T00:00:00Z"}),
]


@pytest.mark.parametrize(("method", "action", "body"), ACTIONS)
def test_an_endpoint_is_nobody_elses_business(
    api: httpx.Client, partner: Connected, other: Connected, receiver: Receiver, method: str, action: str, body: Json
) -> None:
    endpoint = opened(api, partner, receiver)
    shown = api.get(path(endpoint), headers=partner.key).json()
    refused(api.request(method, path(endpoint, action), json=body, headers=other.key), 404, "not_found")
    assert api.get(path(endpoint), headers=partner.key).json() == shown


@pytest.mark.parametrize(("method", "action", "body"), ACTIONS)
def test_without_a_key_there_is_nothing(api: httpx.Client, method: str, action: str, body: Json) -> None:
    refused(api.request(method, f"/api/webhooks/ep_any{action}", json=body), 401)


def test_an_admin_may_do_all_of_it(api: httpx.Client, admin: Headers, own: Connected, receiver: Receiver) -> None:
    endpoint = opened(api, own, receiver)
    expected = {"GET": 200, "PATCH": 200, "DELETE": 204}
    for method, action, body in (each for each in ACTIONS if each[0] != "DELETE" and each[1] != "/test"):
        status = {"/rotate-secret": 200, "/recover": 409}.get(action) or expected[method]
        assert api.request(method, path(endpoint, action), json=body, headers=admin).status_code == status
    assert api.delete(path(endpoint), headers=admin).status_code == 204


# ── A new secret ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def answers_204() -> Iterator[None]:
    """Svix rotates and answers 204, which its own SDK cannot read. Others who rotate meanwhile must bear it too."""
    faults = f"{ask('svix').url}/_devstack/faults"
    web.put(faults, json={"rotate_secret_204": True}).raise_for_status()
    yield
    web.delete(faults).raise_for_status()


def rotate(api: httpx.Client, partner: Connected, endpoint: Json, grace_seconds: int) -> str:
    body = {"grace_seconds": grace_seconds}
    answer = api.post(path(endpoint, "/rotate-secret"), json=body, headers=partner.key)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"secret"}
    return answer.json()["secret"]


def arrived(api: httpx.Client, partner: Connected, receiver: Receiver) -> Json:
    """The next webhook, just published."""
    before = len(receiver.received())
    publish(api, partner.key)
    return receiver.wait_for(before + 1)[-1]


def genuine(secret: str, received: Json) -> bool:
    """By both official libraries, which must agree."""
    standard = {name.replace("svix-", "webhook-"): value for name, value in received["headers"].items()}
    verdicts: set[bool] = set()
    for library, headers in ((Webhook, received["headers"]), (standardwebhooks.Webhook, standard)):
        try:
            library(secret).verify(received["body"], headers)
            verdicts.add(True)
        except (WebhookVerificationError, standardwebhooks.WebhookVerificationError):
            verdicts.add(False)
    (verdict,) = verdicts
    return verdict


def test_during_the_grace_both_secrets_verify_what_is_sent(
    api: httpx.Client, own: Connected, receiver: Receiver
) -> None:
    endpoint = opened(api, own, receiver)
    new = rotate(api, own, endpoint, grace_seconds=3600)
    received = arrived(api, own, receiver)
    assert new != endpoint["secret"]
    assert genuine(endpoint["secret"], received)
    assert genuine(new, received)
    assert len(received["headers"]["svix-signature"].split(" ")) == 2


def test_without_a_grace_only_the_new_secret_verifies(api: httpx.Client, own: Connected, receiver: Receiver) -> None:
    endpoint = opened(api, own, receiver)
    assert genuine(endpoint["secret"], arrived(api, own, receiver))
    new = rotate(api, own, endpoint, grace_seconds=0)
    received = arrived(api, own, receiver)
    assert genuine(new, received)
    assert not genuine(endpoint["secret"], received)


@pytest.mark.usefixtures("answers_204")
def test_a_svix_that_answers_a_rotation_with_204_has_rotated_all_the_same(
    api: httpx.Client, own: Connected, receiver: Receiver
) -> None:
    endpoint = opened(api, own, receiver)
    new = rotate(api, own, endpoint, grace_seconds=60)
    received = arrived(api, own, receiver)
    assert genuine(new, received)
    assert genuine(endpoint["secret"], received)


@pytest.mark.parametrize("grace", [-1, 604_801, "1", 1.5])
def test_a_wrong_grace_is_refused_and_the_secret_stays(
    api: httpx.Client, own: Connected, receiver: Receiver, grace: object
) -> None:
    endpoint = opened(api, own, receiver)
    answer = api.post(path(endpoint, "/rotate-secret"), json={"grace_seconds": grace}, headers=own.key)
    assert pointers(refused(answer, 422)) == ["/grace_seconds"]
    assert arrived(api, own, receiver)["verified"]


# ── Tried out ────────────────────────────────────────────────────────────────────────────────────


def test_a_test_event_arrives_at_this_endpoint_alone(api: httpx.Client, own: Connected, partner_url: str) -> None:
    tried, not_tried = Receiver(partner_url), Receiver(partner_url)
    endpoint = opened(api, own, tried, "inventory.updated", "order.created")
    opened(api, own, not_tried, "inventory.updated")
    for body, event_type in (({}, "inventory.updated"), ({"event_type": "order.created"}, "order.created")):
        answer = api.post(path(endpoint, "/test"), json=body, headers=own.key)
        assert (answer.status_code, answer.json()) == (202, {"event_type": event_type, "status": "sent"})
    assert all(each["verified"] and isinstance(json.loads(each["body"]), dict) for each in tried.wait_for(2))
    assert not_tried.received() == []


def test_a_test_event_of_an_unknown_type_is_refused(api: httpx.Client, own: Connected, receiver: Receiver) -> None:
    endpoint = opened(api, own, receiver)
    answer = api.post(path(endpoint, "/test"), json={"event_type": "no.such.type"}, headers=own.key)
    assert pointers(refused(answer, 422)) == ["/event_type"]


def test_a_test_event_for_a_disabled_endpoint_is_not_said_to_be_sent(
    api: httpx.Client, own: Connected, receiver: Receiver
) -> None:
    endpoint = opened(api, own, receiver)
    patch(api, own, endpoint, enabled=False)
    refused(api.post(path(endpoint, "/test"), json={}, headers=own.key), 409)


# ── Made good again ──────────────────────────────────────────────────────────────────────────────


def recover(api: httpx.Client, partner: Connected, endpoint: Json, since: datetime, **more: object) -> httpx.Response:
    body = {"since": since.isoformat()} | more
    return api.post(path(endpoint, "/recover"), json=body, headers=partner.key)


def test_what_failed_and_what_was_skipped_can_be_counted_and_recovered(
    api: httpx.Client, own: Connected, receiver: Receiver
) -> None:
    since = datetime.now(UTC)
    endpoint = opened(api, own, receiver)
    arrived_before = publish(api, own.key)
    receiver.wait_for(1)
    receiver.tell(respond={"status": 500})
    failed = publish(api, own.key)
    eventually(lambda: statuses(api, own)[failed] == "failed")
    patch(api, own, endpoint, enabled=False)
    skipped = [publish(api, own.key) for _ in range(2)]
    assert [statuses(api, own)[event_id] for event_id in skipped] == ["skipped", "skipped"]

    counted = recover(api, own, endpoint, since, dry_run=True)
    assert (counted.status_code, counted.json()) == (202, {"count": 3})
    refused(recover(api, own, endpoint, since), 409)
    receiver.tell(respond={"status": 204})
    web.delete(receiver.url).raise_for_status()
    patch(api, own, endpoint, enabled=True)
    until = since.isoformat()
    assert recover(api, own, endpoint, since - timedelta(hours=1), until=until).json() == {"count": 0}
    assert receiver.received() == []

    assert recover(api, own, endpoint, since).json() == {"count": 3}
    eventually(lambda: set(statuses(api, own).values()) == {"delivered"})
    assert statuses(api, own).keys() == {arrived_before, failed, *skipped}
    assert len(receiver.received()) == len(receiver.verified()) == len(set(receiver.event_ids())) == 3
    assert recover(api, own, endpoint, since, dry_run=True).json() == {"count": 0}


def test_a_burst_that_was_skipped_is_recovered_each_event_once(
    api: httpx.Client, own: Connected, receiver: Receiver
) -> None:
    since = datetime.now(UTC)
    endpoint = opened(api, own, receiver)
    patch(api, own, endpoint, enabled=False)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: publish(api, own.key, payload={"n": n}), range(40)))
    patch(api, own, endpoint, enabled=True)
    assert recover(api, own, endpoint, since).json() == {"count": 40}
    eventually(lambda: list(statuses(api, own).values()) == ["delivered"] * 40)
    assert Counter(json.loads(each["body"])["n"] for each in receiver.received()) == Counter(range(40))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/since"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-01-01T00:00:00"}, "/since"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "/until"),
    ],
)
def test_a_wrong_period_is_refused(
    api: httpx.Client, partner: Connected, receiver: Receiver, body: Json, pointer: str
) -> None:
    endpoint = opened(api, partner, receiver)
    answer = api.post(path(endpoint, "/recover"), json=body, headers=partner.key)
    assert pointers(refused(answer, 422)) == [pointer]
