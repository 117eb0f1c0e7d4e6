"""The Svix-compatible server gives up on endpoints, and sends again (facts/svix.md §1, §2)."""

from datetime import UTC, datetime, timedelta

import pytest
from svix.api import (
    EndpointGetStatsOptions,
    MessageAttemptListAttemptedMessagesOptions,
    MessageAttemptListByEndpointOptions,
    Svix,
)
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import (
    EndpointPatch,
    EventExampleIn,
    EventTypeIn,
    MessageStatus,
    RecoverIn,
    ReplayIn,
)

from devstack.svix_server.testing.process import RunningServer, running_server
from devstack.svix_server.testing.receiver import Receiver
from devstack.svix_server.testing.sdk import attempts, ends_as, listen, new_app, send, status
from devstack.svix_server.testing.waiting import eventually


class TestDisabling:
    def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox()
        endpoint = listen(svix, app, inbox, disabled=True)
        missed = send(svix, app)
        svix.endpoint.patch(app, endpoint, EndpointPatch(disabled=False))
        sent = send(svix, app)
        eventually(lambda: inbox.received)
        assert inbox.message_ids() == [sent.id]
        task = svix.endpoint.replay_missing(app, endpoint, ReplayIn(since=missed.timestamp))
        eventually(lambda: len(inbox.received) == 2)
        assert inbox.message_ids() == [sent.id, missed.id]
        state = svix.background_task.get(task.id)
        assert (task.task.value, task.status.value) == ("endpoint.replay", "running")
        assert (state.status.value, state.data["count"]) == ("finished", 1)

    def test_a_retry_is_dropped_when_the_endpoint_is_disabled_meanwhile(self, slow: RunningServer, receiver: Receiver):
        with slow.client() as svix:
            inbox, app = receiver.inbox(500), new_app(svix)
            endpoint = listen(svix, app, inbox)
            sent = send(svix, app)
            eventually(lambda: attempts(svix, app, sent.id))
            svix.endpoint.patch(app, endpoint, EndpointPatch(disabled=True))
            slow.advance_clock(100)
            eventually(lambda: slow.http("GET", "/_devstack/ledger").json()["apps"][app]["pending"] == 0)
            assert len(inbox.received) == 1
            assert status(svix, app, endpoint, sent.id) == MessageStatus.SENDING

    def test_long_failing_disables_and_a_success_forgives(
        self, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
    ):
        strict_server = running_server(tmp_path_factory.mktemp("s"), RETRY="", DISABLE_AFTER="100")
        with strict_server as strict, strict.client() as svix:
            inbox, app = receiver.inbox(500), new_app(svix)
            endpoint = listen(svix, app, inbox)

            def fail_then_wait(seconds: int) -> None:
                sent = send(svix, app)
                ends_as(svix, app, endpoint, sent.id, MessageStatus.FAIL)
                strict.advance_clock(seconds)

            fail_then_wait(99)
            fail_then_wait(0)
            assert svix.endpoint.get(app, endpoint).disabled is False
            inbox.statuses = [200, 500]
            ends_as(svix, app, endpoint, send(svix, app).id, MessageStatus.SUCCESS)
            fail_then_wait(101)
            assert svix.endpoint.get(app, endpoint).disabled is False, "the success had forgiven"
            fail_then_wait(0)
            eventually(lambda: svix.endpoint.get(app, endpoint).disabled)
            svix.endpoint.patch(app, endpoint, EndpointPatch(disabled=False))
            fail_then_wait(0)
            eventually(lambda: svix.endpoint.get(app, endpoint).disabled)


class TestSendingAgain:
    def test_resend_makes_one_manual_attempt(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox(200, 500)
        endpoint = listen(svix, app, inbox)
        sent = send(svix, app)
        ends_as(svix, app, endpoint, sent.id, MessageStatus.SUCCESS)
        svix.message_attempt.resend(app, sent.id, endpoint)
        made = eventually(lambda: attempts(svix, app, sent.id)[:-1])
        assert [(one.trigger_type.value, one.response_status_code) for one in made] == [(1, 500)]
        assert inbox.message_ids() == [sent.id] * 2
        by_status = MessageAttemptListAttemptedMessagesOptions(status=MessageStatus.SUCCESS)
        assert len(svix.message_attempt.list_attempted_messages(app, endpoint, by_status).data) == 1
        assert status(svix, app, endpoint, sent.id) == MessageStatus.FAIL, "as the last attempt ended"

    def test_resend_needs_a_payload_and_a_destination(self, svix: Svix, app: str, receiver: Receiver):
        sent = send(svix, app)
        endpoint = listen(svix, app, receiver.inbox())
        with pytest.raises(HttpError) as refused:
            svix.message_attempt.resend(app, sent.id, endpoint)
        assert refused.value.status_code == 404
        svix.message.expunge_content(app, sent.id)
        with pytest.raises(HttpError) as refused:
            svix.message_attempt.resend(app, sent.id, endpoint)
        assert (refused.value.status_code, refused.value.code) == (400, "missing_payload")

    def test_resend_to_a_disabled_endpoint_is_accepted_and_delivers_nothing(
        self, svix: Svix, app: str, receiver: Receiver
    ):
        inbox = receiver.inbox()
        endpoint = listen(svix, app, inbox)
        sent = send(svix, app)
        ends_as(svix, app, endpoint, sent.id, MessageStatus.SUCCESS)
        svix.endpoint.patch(app, endpoint, EndpointPatch(disabled=True))
        svix.message_attempt.resend(app, sent.id, endpoint)
        svix.endpoint.patch(app, endpoint, EndpointPatch(disabled=False))
        later = send(svix, app)
        ends_as(svix, app, endpoint, later.id, MessageStatus.SUCCESS)
        assert inbox.message_ids() == [sent.id, later.id]

    def test_recover_sends_what_had_failed(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox(500)
        endpoint = listen(svix, app, inbox)
        failed = [send(svix, app) for _ in range(3)]
        for one in failed:
            ends_as(svix, app, endpoint, one.id, MessageStatus.FAIL)
        inbox.statuses = [200]
        inbox.received.clear()
        task = svix.endpoint.recover(app, endpoint, RecoverIn(since=failed[1].timestamp))
        for one in failed[1:]:
            ends_as(svix, app, endpoint, one.id, MessageStatus.SUCCESS)
        assert sorted(inbox.message_ids()) == [one.id for one in failed[1:]]
        assert task.task.value == "endpoint.recover"
        assert status(svix, app, endpoint, failed[0].id) == MessageStatus.FAIL
        by_status = MessageAttemptListAttemptedMessagesOptions(status=MessageStatus.FAIL)
        data = svix.message_attempt.list_attempted_messages(app, endpoint, by_status).data
        assert [one.id for one in data] == [failed[0].id]

    def test_recover_reaches_back_two_weeks(self, svix: Svix, app: str, receiver: Receiver):
        endpoint, now = listen(svix, app, receiver.inbox()), datetime.now(UTC)
        svix.endpoint.recover(app, endpoint, RecoverIn(since=now - timedelta(days=14)))
        for since in (now - timedelta(days=15), now.replace(tzinfo=None)):
            with pytest.raises(HTTPValidationError):
                svix.endpoint.recover(app, endpoint, RecoverIn(since=since))

    def test_stats_reach_back_four_weeks(self, svix: Svix, app: str, receiver: Receiver):
        endpoint, now = listen(svix, app, receiver.inbox()), datetime.now(UTC)
        since = EndpointGetStatsOptions(since=now - timedelta(days=29))
        with pytest.raises(HttpError) as refused:
            svix.endpoint.get_stats(app, endpoint, since)
        assert (refused.value.status_code, refused.value.code) == (400, "invalid_range")

    def test_examples_come_from_the_schema(self, svix: Svix, app: str, receiver: Receiver):
        inbox = receiver.inbox()
        svix.event_type.create(EventTypeIn(name="with", description="", schemas={"1": {"examples": [{"a": 1}]}}))
        svix.event_type.create(EventTypeIn(name="without", description=""))
        endpoint = listen(svix, app, inbox, eventTypes=["without"])
        svix.endpoint.send_example(app, endpoint, EventExampleIn(event_type="svix.ping"))
        assert inbox.first().body == b'{"success": true}'
        assert svix.endpoint.send_example(app, endpoint, EventExampleIn(event_type="with")).payload == {"a": 1}
        with pytest.raises(HttpError) as refused:
            svix.endpoint.send_example(app, endpoint, EventExampleIn(event_type="without"))
        assert (refused.value.status_code, refused.value.code) == (400, "invalid_scheme")


def test_attempts_page_forth_and_back(svix: Svix, app: str, receiver: Receiver):
    inbox = receiver.inbox()
    endpoint = listen(svix, app, inbox)
    for _ in range(5):
        done = send(svix, app)
        ends_as(svix, app, endpoint, done.id, MessageStatus.SUCCESS)

    def page(iterator: str | None = None):
        options = MessageAttemptListByEndpointOptions(limit=2, iterator=iterator)
        return svix.message_attempt.list_by_endpoint(app, endpoint, options)

    pages = [page()]
    while not pages[-1].done:
        pages.append(page(pages[-1].iterator))
    assert [one.msg_id for each in pages for one in each.data] == inbox.message_ids()[::-1]
    assert page(pages[2].prev_iterator).data == pages[1].data
    assert page(pages[1].prev_iterator) == pages[0].model_copy(update={"done": True})
