"""The Svix-compatible server signs, chooses endpoints, delivers and retries (facts/svix.md §2)."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as StandardWebhook
from svix.api import (
    MessageGetOptions,
    Svix,
)
from svix.api.message import message_in_raw
from svix.models import (
    EndpointHeadersIn,
    EndpointSecretRotateIn,
    EventTypeIn,
    MessageIn,
    MessageStatus,
    StatusCodeClass,
)
from svix.webhooks import Webhook, WebhookVerificationError

from devstack.svix_server.testing.process import RunningServer, running_server
from devstack.svix_server.testing.receiver import Receiver
from devstack.svix_server.testing.sdk import attempts, ends_as, listen, new_app, send
from devstack.svix_server.testing.waiting import eventually


class TestSigning:
    def test_a_delivery_verifies_with_both_libraries(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox()
        endpoint = listen(svix, app, inbox)
        sent = send(svix, app, payload={"ä": "☃"})
        got = inbox.first()
        key = svix.endpoint.get_secret(app, endpoint).key
        Webhook(key).verify(got.body, got.headers)
        renamed = {name.replace("svix-", "webhook-"): value for name, value in got.headers.items()}
        assert StandardWebhook(key).verify(got.body, renamed) == {"ä": "☃"}
        assert got.headers["svix-id"] == sent.id
        assert got.headers["content-type"] == "application/json"
        assert got.headers["user-agent"].startswith("Svix-Webhooks/")
        assert next(iter(got.headers)) == "host"
        assert "accept-encoding" not in got.headers

    def test_after_a_rotation_both_keys_verify_until_the_grace_ends(
        self, svix: Svix, app: str, receiver: Receiver, server: RunningServer
    ):
        inbox = receiver.inbox()
        endpoint = listen(svix, app, inbox)
        old = svix.endpoint.get_secret(app, endpoint).key
        new = svix.endpoint.rotate_secret(app, endpoint, EndpointSecretRotateIn(grace_period_seconds=3600)).key
        send(svix, app)
        got = inbox.first()
        assert len(got.headers["svix-signature"].split()) == 2
        for key in (new, old):
            Webhook(key).verify(got.body, got.headers)
        newest = svix.endpoint.rotate_secret(app, endpoint, EndpointSecretRotateIn(grace_period_seconds=0)).key
        send(svix, app)
        got = eventually(lambda: inbox.received[1:])[0]
        Webhook(newest).verify(got.body, got.headers)
        Webhook(old).verify(got.body, got.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(new).verify(got.body, got.headers)

    @pytest.mark.parametrize(
        "payload",
        [
            '{"price": 1.10, "price": 1.1,\t"e":"\\u00e9"}',
            '{"n":123456789012345678901234567890,"f":1e5}',
            '{ "nested" : [ { "}" : "\\"{" } ] }',
        ],
    )
    def test_the_posted_bytes_are_what_is_sent(
        self, svix: Svix, app: str, receiver: Receiver, server: RunningServer, payload: str
    ):
        inbox = receiver.inbox()
        endpoint = listen(svix, app, inbox)
        body = f'{{"eventType":"t", "payload" : {payload} , "channels":null}}'.encode()
        token = {"authorization": f"Bearer {svix._client.token}"}
        answer = server.http("POST", f"/api/v1/app/{app}/msg", content=body, headers=token)
        assert answer.status_code == 202
        got = inbox.first()
        assert got.body == payload.encode()
        Webhook(svix.endpoint.get_secret(app, endpoint).key).verify(got.body, got.headers)

    def test_a_raw_payload_is_the_body(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox()
        listen(svix, app, inbox)
        sent = svix.message.create(app, message_in_raw("t", "not JSON: é"))
        assert inbox.first().body == "not JSON: é".encode()
        read = svix.message.get(app, sent.id, MessageGetOptions(with_content=True))
        assert read.payload == {"expired": True}

    def test_the_headers_of_a_message_go_along_with_every_attempt(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox()
        endpoint = listen(svix, app, inbox)
        traced = MessageIn(event_type="t", payload={}, transformations_params={"headers": {"traceparent": "00-a-b-01"}})
        sent = svix.message.create(app, traced)
        assert inbox.first().headers["traceparent"] == "00-a-b-01"
        svix.message_attempt.resend(app, sent.id, endpoint)
        again = eventually(lambda: inbox.received[1:])
        assert again[0].headers["traceparent"] == "00-a-b-01"

    def test_custom_headers_go_along_and_credentials_become_basic(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox()
        endpoint = listen(svix, app, inbox.url.replace("http://", "http://us%40er:pass@") + "?a=%2F#frag")
        svix.endpoint.set_headers(app, endpoint, EndpointHeadersIn(headers={"X-Mine": "é"}))
        send(svix, app)
        got = inbox.first()
        assert got.path.endswith("?a=%2F")
        assert got.headers["authorization"] == "Basic dXNAZXI6cGFzcw=="
        assert got.headers["x-mine"].encode("latin-1").decode() == "é"


class TestFanout:
    def test_types_and_channels_choose_the_endpoints(self, svix: Svix, app: str, receiver: Receiver):
        svix.event_type.create(EventTypeIn(name="a", description=""))
        everything, only_a, only_x = receiver.inbox(), receiver.inbox(), receiver.inbox()
        listen(svix, app, everything)
        listen(svix, app, only_a, eventTypes=["a"])
        listen(svix, app, only_x, channels=["x", "y"])
        sent = [
            send(svix, app, event_type="a").id,
            send(svix, app, event_type="b", channels=["x", "z"]).id,
            send(svix, app, event_type="b", channels=["z"]).id,
        ]
        eventually(lambda: len(everything.received) == 3 and only_a.received and only_x.received)
        assert set(everything.message_ids()) == set(sent)
        assert (only_a.message_ids(), only_x.message_ids()) == ([sent[0]], [sent[1]])

    def test_a_slow_endpoint_holds_up_nobody(self, svix: Svix, app: str, receiver: Receiver):
        slow, quick = receiver.inbox(), receiver.inbox()
        slow.hold = threading.Event()
        listen(svix, app, slow)
        listen(svix, app, quick)
        for _ in range(40):
            send(svix, app)
        eventually(lambda: len(quick.received) == 40)
        slow.hold.set()


class TestRetries:
    def test_a_failing_message_is_retried_with_the_same_id_until_it_arrives(
        self, svix: Svix, app: str, receiver: Receiver
    ):
        inbox = receiver.inbox(500, 302, 200)
        inbox.answer_body = b"answer"
        endpoint = listen(svix, app, inbox)
        sent = send(svix, app)
        ends_as(svix, app, endpoint, sent.id, MessageStatus.SUCCESS)
        assert inbox.message_ids() == [sent.id] * 3
        made = attempts(svix, app, sent.id)
        assert [one.response_status_code for one in made] == [200, 302, 500], "newest first"
        assert [one.status for one in made] == [MessageStatus.SUCCESS, MessageStatus.FAIL, MessageStatus.FAIL]
        assert {one.response for one in made} == {"answer"}
        assert {one.trigger_type.value for one in made} == {0}
        assert attempts(svix, app, sent.id, status_code_class=StatusCodeClass.CODE3XX) == made[1:2]
        assert svix.message_attempt.get(app, sent.id, made[0].id) == made[0]
        svix.message_attempt.expunge_content(app, sent.id, made[0].id)
        assert svix.message_attempt.get(app, sent.id, made[0].id).response == "EXPUNGED"

    def test_after_the_last_retry_it_has_failed(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox(500)
        endpoint = listen(svix, app, inbox)
        sent = send(svix, app)
        ends_as(svix, app, endpoint, sent.id, MessageStatus.FAIL)
        assert len(inbox.received) == 3
        listed = svix.message_attempt.list_attempted_destinations(app, sent.id).data
        assert [(one.id, one.status, one.next_attempt) for one in listed] == [(endpoint, MessageStatus.FAIL, None)]
        stats = svix.endpoint.get_stats(app, endpoint)
        assert (stats.success, stats.fail, stats.sending, stats.pending) == (0, 1, 0, 0)

    def test_the_next_attempt_is_announced(self, slow: RunningServer, receiver: Receiver):
        with slow.client() as svix:
            inbox, app = receiver.inbox(500, 200), new_app(svix)
            endpoint = listen(svix, app, inbox)
            sent = send(svix, app)
            eventually(lambda: attempts(svix, app, sent.id))
            planned = svix.message_attempt.list_attempted_messages(app, endpoint).data[0]
            assert planned.status == MessageStatus.SENDING
            assert planned.next_attempt is not None
            wait = planned.next_attempt - datetime.now(UTC)
            assert timedelta(seconds=90) < wait <= timedelta(seconds=100)
            slow.advance_clock(100)
            ends_as(svix, app, endpoint, sent.id, MessageStatus.SUCCESS)
            Webhook(svix.endpoint.get_secret(app, endpoint).key).verify(
                inbox.received[1].body, inbox.received[1].headers
            )

    def test_an_endpoint_that_takes_too_long_times_out(
        self, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
    ):
        with running_server(tmp_path_factory.mktemp("s"), RETRY="", TIMEOUT="0.3") as hasty, hasty.client() as svix:
            inbox, app = receiver.inbox(), new_app(svix)
            inbox.hold = threading.Event()
            listen(svix, app, inbox)
            sent = send(svix, app)
            made = eventually(lambda: attempts(svix, app, sent.id))[-1]
            inbox.hold.set()
            assert (made.response_status_code, made.response) == (0, "request timed out")
            assert 250 <= made.response_duration_ms < 2000

    def test_refused_connections_and_blocked_addresses_are_failures_with_a_reason(self, svix: Svix, app: str):
        urls = ("http://127.0.0.1:9/", "http://10.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/")
        endpoints = [listen(svix, app, url) for url in urls]
        sent = send(svix, app)

        def reasons() -> list[str]:
            made = attempts(svix, app, sent.id)
            latest = [[one for one in made if one.endpoint_id == endpoint] for endpoint in endpoints]
            return [one[0].response for one in latest] if all(latest) else []

        refused, *blocked = eventually(reasons)
        assert refused.startswith("error making request")
        assert set(blocked) == {"requests to this IP range are blocked (see the server configuration)"}

    def test_a_long_answer_is_cut_and_a_binary_one_kept_as_base64(self, svix: Svix, app: str, receiver: Receiver):
        long, binary = receiver.inbox(200), receiver.inbox(200)
        long.answer_body, binary.answer_body = b"x" * 500_000, b"\xff\xfe"
        listen(svix, app, long)
        listen(svix, app, binary)
        sent = send(svix, app)
        made = eventually(lambda: [one for one in [attempts(svix, app, sent.id)] if len(one) == 2])[0]
        assert {one.response for one in made} == {"x" * 20_000, "//4="}
        assert {one.status for one in made} == {MessageStatus.SUCCESS}

    def test_content_is_left_out_unless_asked_for(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox()
        inbox.answer_body = b"private"
        endpoint = listen(svix, app, inbox)
        sent = send(svix, app)
        eventually(lambda: attempts(svix, app, sent.id))
        assert [one.response for one in svix.message_attempt.list_by_endpoint(app, endpoint).data] == ["{}"]
        assert svix.message_attempt.list_attempted_messages(app, endpoint).data[0].payload == {}
