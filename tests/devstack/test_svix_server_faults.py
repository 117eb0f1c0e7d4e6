"""The Svix-compatible server's faults and ledger, and the webhooks it sends about itself (facts/svix.md §3)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from svix.api import Svix, SvixOptions
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import (
    EndpointIn,
    EndpointPatch,
    EndpointSecretRotateIn,
    OperationalWebhookEndpointHeadersIn,
    OperationalWebhookEndpointIn,
    OperationalWebhookEndpointSecretIn,
    OperationalWebhookEndpointUpsertIn,
)
from svix.webhooks import Webhook

from devstack.svix_server.auth import MANAGEMENT_ORG
from devstack.svix_server.testing.process import RunningServer, an_organization, running_server
from devstack.svix_server.testing.receiver import Inbox, Receiver
from devstack.svix_server.testing.sdk import new_app, send
from devstack.svix_server.testing.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    retries = "0.02,0.02,0.02,0.02,0.02"
    with running_server(tmp_path_factory.mktemp("svix"), RETRY=retries, DISABLE_AFTER="0.001") as running:
        yield running


@pytest.fixture
def org() -> str:
    return an_organization()


@pytest.fixture
def svix(server: RunningServer, org: str) -> Iterator[Svix]:
    with server.client(org) as client:
        yield client


@pytest.fixture
def faults(server: RunningServer) -> Iterator[RunningServer]:
    yield server
    server.http("DELETE", "/_devstack/faults")


class TestFaults:
    CREATE = "POST /api/v1/app/{app_id}/msg"

    def test_a_status_as_often_as_ordered(self, faults: RunningServer, svix: Svix):
        app = new_app(svix)
        faults.order_faults(status=429, times=2, routes=self.CREATE, headers={"retry-after": "1"})
        for _ in range(2):
            with pytest.raises(HttpError) as refused:
                send(svix, app)
            assert (refused.value.status_code, refused.value.code) == (429, "injected_fault")
        send(svix, app)
        assert len(svix.message.list(app).data) == 1
        assert faults.http("GET", "/_devstack/faults").json()["rules"][0]["times"] == 0

    def test_accepted_but_told_otherwise(self, faults: RunningServer, org: str):
        """The SDK's own retry carries the same key, so it gets the kept reply."""
        with faults.client(org, SvixOptions(retry_schedule=[0.01])) as svix:
            app = new_app(svix)
            faults.order_faults(accept_then_status=503, times=1, routes=[self.CREATE])
            sent = send(svix, app).id
            assert [one.id for one in svix.message.list(app).data] == [sent]

    def test_accepted_but_never_answered(self, faults: RunningServer, org: str):
        with faults.client(org, SvixOptions(retry_schedule=[], timeout=0.3)) as svix:
            app = new_app(svix)
            faults.order_faults(accept_then_hang=2, times=1, routes=self.CREATE)
            with pytest.raises(httpx.ReadTimeout):
                send(svix, app, event_id="once")
            with pytest.raises(HttpError) as refused:
                send(svix, app, event_id="once")
            assert refused.value.status_code == 409

    def test_a_hang_accepts_nothing(self, faults: RunningServer, svix: Svix):
        app = new_app(svix)
        faults.order_faults(hang_seconds=0.05, routes=self.CREATE)
        with pytest.raises(HttpError) as refused:
            send(svix, app)
        assert refused.value.status_code == 503
        assert svix.message.list(app).data == []

    def test_dice_fall_the_same_with_the_same_seed(self, faults: RunningServer):
        def throws() -> list[int]:
            faults.order_faults(status=500, probability=0.5, seed=7, routes="GET /api/v1/health/ping")
            return [faults.http("GET", "/api/v1/health/ping").status_code for _ in range(20)]

        first = throws()
        assert first == throws()
        assert set(first) == {204, 500}

    def test_a_body_of_its_own_and_health_left_alone(self, faults: RunningServer):
        faults.order_faults(status=502, body="<html>bad gateway</html>")
        assert faults.http("GET", "/api/v1/app").text == "<html>bad gateway</html>"
        assert faults.http("GET", "/api/v1/health").status_code == 200

    def test_a_422_has_the_form_that_the_sdk_reads(self, faults: RunningServer, svix: Svix):
        faults.order_faults(status=422)
        with pytest.raises(HTTPValidationError):
            svix.application.list()

    @pytest.mark.parametrize("wrong", [{"stauts": 500}, {"status": 500, "hang_seconds": 1}, {"times": 1}])
    def test_a_misspelt_order_is_refused(self, faults: RunningServer, wrong: dict[str, object]):
        assert faults.http("PUT", "/_devstack/faults", json=wrong).status_code == 422

    def test_rotate_secret_may_answer_as_svix_server_does(self, faults: RunningServer, svix: Svix):
        app = new_app(svix)
        endpoint = svix.endpoint.create(app, EndpointIn(url="http://127.0.0.1:9/")).id
        before = svix.endpoint.get_secret(app, endpoint)
        faults.order_faults(rotate_secret_204=True)
        with pytest.raises(json.JSONDecodeError):
            svix.endpoint.rotate_secret(app, endpoint, EndpointSecretRotateIn())
        assert svix.endpoint.get_secret(app, endpoint) != before


class TestOperationalWebhooks:
    def test_the_seven_kinds_reach_a_listener_set_up_as_svix_server_has_it(
        self, server: RunningServer, svix: Svix, org: str, receiver: Receiver
    ):
        told, inbox = receiver.inbox(), receiver.inbox(500)
        with server.client(MANAGEMENT_ORG) as management:
            listener = new_app(management, uid=org)
            heard = management.endpoint.create(listener, EndpointIn(url=told.url)).id
            key = management.endpoint.get_secret(listener, heard).key
        app = new_app(svix, uid="shop")
        endpoint = svix.endpoint.create(app, EndpointIn(url=inbox.url, uid="e")).id
        lost = [send(svix, app, event_id="ev-0").id]
        eventually(lambda: _told(told, "message.attempt.exhausted"))
        lost.append(send(svix, app).id)
        eventually(lambda: svix.endpoint.get(app, endpoint).disabled)
        inbox.statuses = [500, 500, 500, 500, 200]
        svix.endpoint.patch(app, endpoint, EndpointPatch(disabled=False))
        send(svix, app)
        eventually(lambda: _told(told, "message.attempt.recovered"))
        svix.endpoint.delete(app, endpoint)
        eventually(lambda: _told(told, "endpoint.deleted"))
        for received in told.received:
            Webhook(key).verify(received.body, received.headers)

        about = {"appId": app, "appUid": "shop", "endpointId": endpoint, "endpointUid": "e"}
        assert _told(told, "endpoint.created") == _told(told, "endpoint.updated") == [about]
        assert _told(told, "endpoint.deleted") == [about]
        (disabled,) = _told(told, "endpoint.disabled")
        assert disabled["endpointUid"] is None
        assert disabled["failSince"].endswith("Z")
        exhausted = {one["msgId"]: one for one in _told(told, "message.attempt.exhausted")}
        assert set(exhausted) == set(lost)
        assert exhausted[lost[0]]["msgEventId"] == "ev-0"
        last = exhausted[lost[0]]["lastAttempt"]
        assert (last["responseStatusCode"], last["id"][:6]) == (500, "atmpt_")
        assert len(_told(told, "message.attempt.failing")) == 3

    def test_the_cloud_routes_set_up_the_same(self, svix: Svix, receiver: Receiver):
        told = receiver.inbox()
        calls = svix.operational_webhook.endpoint
        kinds = ["endpoint.created", "message.attempt.recovered"]
        made = calls.create(OperationalWebhookEndpointIn(url=told.url, event_types=kinds, uid="ops"))
        assert (made.event_types, calls.get("ops").id, [one.id for one in calls.list().data]) == (
            kinds,
            made.id,
            [made.id],
        )
        with pytest.raises(HTTPValidationError):
            calls.create(OperationalWebhookEndpointIn(url=told.url, event_types=["order.created"]))
        calls.set_headers("ops", OperationalWebhookEndpointHeadersIn(headers={"X-A": "1"}))
        assert calls.get_headers("ops").headers == {"X-A": "1"}
        calls.rotate_secret("ops", OperationalWebhookEndpointSecretIn())
        svix.endpoint.create(new_app(svix), EndpointIn(url="http://127.0.0.1:9/"))
        got = eventually(lambda: told.received)[0]
        Webhook(calls.get_secret("ops").key).verify(got.body, got.headers)
        assert got.headers["x-a"] == "1"
        calls.upsert("ops", OperationalWebhookEndpointUpsertIn(url=told.url))
        calls.delete(made.id)
        assert calls.list().data == []

    def test_recovered_is_not_seeded_in_the_management_organisation(self, server: RunningServer, org: str):
        with server.client(MANAGEMENT_ORG) as management:
            listener = new_app(management, uid=org)
            wanted = EndpointIn(url="http://127.0.0.1:9/", event_types=["message.attempt.exhausted"])
            management.endpoint.create(listener, wanted)
            wanted.event_types = ["message.attempt.recovered"]
            with pytest.raises(HTTPValidationError):
                management.endpoint.create(listener, wanted)

    def test_they_may_be_dropped_or_come_twice(self, faults: RunningServer, svix: Svix, receiver: Receiver):
        told, app = receiver.inbox(), new_app(svix)
        svix.operational_webhook.endpoint.create(OperationalWebhookEndpointIn(url=told.url))
        made = svix.endpoint.create(app, EndpointIn(url="http://127.0.0.1:9/"))
        eventually(lambda: told.received)
        faults.order_faults(operational_webhooks="drop")
        svix.endpoint.patch(app, made.id, EndpointPatch(description="dropped"))
        faults.order_faults(operational_webhooks="twice")
        svix.endpoint.delete(app, made.id)
        eventually(lambda: len(told.received) == 3)
        kinds = [json.loads(received.body)["type"] for received in told.received]
        assert kinds == ["endpoint.created", "endpoint.deleted", "endpoint.deleted"]
        assert len(set(told.message_ids()[1:])) == 1


def _told(told: Inbox, kind: str) -> list[dict[str, Any]]:
    bodies = [json.loads(received.body) for received in told.received]
    return [body["data"] for body in bodies if body["type"] == kind]


def test_the_ledger_counts(server: RunningServer, svix: Svix, org: str, receiver: Receiver):
    app = new_app(svix, uid="counted")
    svix.endpoint.create(app, EndpointIn(url=receiver.inbox(200).url))
    svix.endpoint.create(app, EndpointIn(url=receiver.inbox(*[500] * 6, 200).url))
    for event_id in ("a", "b", None):
        send(svix, app, event_id=event_id)
    counts = {"messages": 3, "event_ids": 2, "attempts_succeeded": 6, "attempts_failed": 6, "pending": 0}
    assert server.settled(app) == counts | {"uid": "counted", "org_id": org}
