"""The webhook service on Svix: every way in which it can fail is one of two of ours, and every call can be repeated."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import aiohttp.http
import httpx
import pytest
from pydantic import ValidationError
from svix.api import EndpointListOptions

from shared_code.adapters import svix_outcomes, svix_webhooks
from shared_code.adapters.svix_webhooks import SvixWebhooks, endpoint_uid, translated
from shared_code.errors import WebhookServiceUnavailable
from shared_code.model import Endpoint, Event, EventType
from shared_code.ports import Outcome, Refused
from tests import services
from tests.services import web
from tests.shared_servers import ask

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
THIRTEEN_HOURS = 13 * 3600
"""After twelve, Svix has forgotten idempotency keys."""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SEND = "POST /api/v1/app/{app_id}/msg"


@pytest.fixture(scope="module")
def svix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    with services.start_svix(tmp_path_factory.mktemp("svix"), retry="60") as running:
        web.put(
            f"{running.url}/api/v1/event-type/order.created",
            json={"description": "x"},
            headers={"authorization": f"Bearer {running.secret}"},
        ).raise_for_status()
        yield running


@pytest.fixture
async def webhooks(svix: services.Service) -> AsyncIterator[SvixWebhooks]:
    adapter = SvixWebhooks(svix.secret, svix.url)
    yield adapter
    web.delete(f"{svix.url}/_devstack/faults").raise_for_status()
    await adapter.close()


@pytest.fixture
def partner_id() -> UUID:
    return uuid4()


@pytest.fixture
def endpoint(partner_id: UUID) -> Endpoint:
    """An endpoint of the example partner's receiver."""
    return Endpoint(
        endpoint_id=f"ep_{uuid4().hex}",
        partner_id=partner_id,
        url=f"{ask('partner').url}/webhooks/{uuid4().hex}",
        events=("order.created",),
        description="orders",
        created_at=NOW,
        updated_at=NOW,
    )


@pytest.fixture
def event(partner_id: UUID) -> Event:
    return Event(
        event_id=f"evt_{uuid4().hex}",
        partner_id=partner_id,
        event_type="order.created",
        payload={"order_id": "ord_1"},
        created_at=NOW,
    )


def order_fault(svix: services.Service, **fault: Any) -> None:
    web.put(f"{svix.url}/_devstack/faults", json=fault).raise_for_status()


def pass_time(svix: services.Service, seconds: int) -> None:
    web.put(f"{svix.url}/_devstack/clock", json={"advance_seconds": seconds}).raise_for_status()


def messages(svix: services.Service, partner_id: UUID) -> int:
    apps = web.get(f"{svix.url}/_devstack/ledger").json()["apps"].values()
    return sum(app["messages"] for app in apps if app["uid"] == str(partner_id))


async def outcome_of(webhooks: SvixWebhooks, event: Event) -> Outcome:
    """The event's only outcome, once there was an attempt: asked again then, as it is learned in two questions."""
    for _ in range(500):
        found = await webhooks.outcomes(event.partner_id, event.event_id)
        if found and found[0].attempts:
            return (await webhooks.outcomes(event.partner_id, event.event_id))[0]
    raise AssertionError("no attempt was made")


# ── Endpoints ────────────────────────────────────────────────────────────────────────────────────


async def test_an_endpoint_opened_again_is_the_same_one(webhooks: SvixWebhooks, endpoint: Endpoint) -> None:
    first, second = [await webhooks.open_endpoint(endpoint, SECRET) for _ in range(2)]
    assert first == second
    listed = await webhooks.client.endpoint.list(str(endpoint.partner_id), EndpointListOptions(limit=10))
    assert [(each.id, each.uid) for each in listed.data] == [(first, endpoint_uid(endpoint.endpoint_id))]


async def test_an_endpoint_opened_again_after_svix_forgot_the_call_is_the_same_one(
    webhooks: SvixWebhooks, svix: services.Service, endpoint: Endpoint
) -> None:
    first = await webhooks.open_endpoint(endpoint, SECRET)
    pass_time(svix, THIRTEEN_HOURS)
    assert await webhooks.open_endpoint(endpoint, SECRET) == first


async def test_an_endpoint_is_what_was_asked_for(webhooks: SvixWebhooks, endpoint: Endpoint) -> None:
    wanted = replace(endpoint, enabled=False)
    app, known_as = str(endpoint.partner_id), await webhooks.open_endpoint(wanted, SECRET)
    opened = await webhooks.client.endpoint.get(app, known_as)
    assert (opened.url, opened.description, opened.disabled) == (endpoint.url, "orders", True)
    assert opened.event_types == ["order.created"]
    assert (await webhooks.client.endpoint.get_secret(app, known_as)).key == SECRET


async def test_an_endpoint_that_would_get_other_events_is_refused(
    webhooks: SvixWebhooks, svix: services.Service, endpoint: Endpoint
) -> None:
    """As with an old server, which ignores the list and would send everything (facts/svix.md 0.2)."""
    await webhooks.put_event_type(EventType(name="inventory.updated", created_at=NOW, updated_at=NOW))
    await webhooks.open_endpoint(replace(endpoint, events=("inventory.updated",)), SECRET)
    pass_time(svix, THIRTEEN_HOURS)
    with pytest.raises(Refused, match="list of event types"):
        await webhooks.open_endpoint(endpoint, SECRET)


# ── Events ───────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_sent_again_is_one_message(webhooks: SvixWebhooks, svix: services.Service, event: Event) -> None:
    for _ in range(3):
        await webhooks.send(event)
    assert messages(svix, event.partner_id) == 1


async def test_a_409_means_that_the_event_was_accepted(
    webhooks: SvixWebhooks, svix: services.Service, event: Event
) -> None:
    await webhooks.send(event)
    pass_time(svix, THIRTEEN_HOURS)
    await webhooks.send(event)
    assert messages(svix, event.partner_id) == 1


async def test_an_event_whose_answer_was_lost_is_sent_again_and_counts_once(
    webhooks: SvixWebhooks, svix: services.Service, event: Event
) -> None:
    await webhooks.send(replace(event, event_id="evt_first"))
    order_fault(svix, accept_then_status=500, times=1, routes=SEND)
    with pytest.raises(WebhookServiceUnavailable):
        await webhooks.send(event)
    await webhooks.send(event)
    assert messages(svix, event.partner_id) == 2


async def test_the_same_event_id_of_two_partners_is_two_messages(
    webhooks: SvixWebhooks, svix: services.Service, event: Event
) -> None:
    other = replace(event, partner_id=uuid4())
    await webhooks.send(event)
    await webhooks.send(other)
    assert (messages(svix, event.partner_id), messages(svix, other.partner_id)) == (1, 1)


async def test_a_partner_that_svix_does_not_know_is_made_known(
    webhooks: SvixWebhooks, svix: services.Service, event: Event, endpoint: Endpoint
) -> None:
    await webhooks.open_endpoint(endpoint, SECRET)
    await webhooks.close_partner(event.partner_id)
    await webhooks.send(event)
    assert messages(svix, event.partner_id) == 1


async def test_closing_a_partner_can_be_repeated(webhooks: SvixWebhooks, event: Event) -> None:
    await webhooks.send(event)
    for _ in range(2):
        await webhooks.close_partner(event.partner_id)
    assert await webhooks.outcomes(event.partner_id, event.event_id) == ()


async def test_an_event_type_can_be_put_again_and_changed(webhooks: SvixWebhooks) -> None:
    event_type = EventType(name=f"test.{uuid4().hex}", schema={"type": "object"}, created_at=NOW, updated_at=NOW)
    for description in ("", "first", "second"):
        await webhooks.put_event_type(replace(event_type, description=description))
    kept = await webhooks.client.event_type.get(event_type.name)
    assert (kept.description, kept.schemas) == ("second", {"1": {"type": "object"}})


# ── Outcomes ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_not_known_has_no_outcome(webhooks: SvixWebhooks, event: Event) -> None:
    assert await webhooks.outcomes(event.partner_id, event.event_id) == ()


async def test_the_outcome_of_what_arrived(webhooks: SvixWebhooks, endpoint: Endpoint, event: Event) -> None:
    await webhooks.open_endpoint(endpoint, SECRET)
    await webhooks.send(event)
    outcome = await outcome_of(webhooks, event)
    assert (outcome.endpoint_id, outcome.next_retry_at) == (endpoint.endpoint_id, None)
    (attempt,) = outcome.attempts
    assert (attempt.response_code, attempt.error, attempt.endpoint_id) == (204, None, endpoint.endpoint_id)
    assert attempt.at.tzinfo


async def test_the_outcome_of_what_was_answered_with_an_error(
    webhooks: SvixWebhooks, endpoint: Endpoint, event: Event
) -> None:
    web.put(endpoint.url, json={"respond": {"status": 503}})
    await webhooks.open_endpoint(endpoint, SECRET)
    await webhooks.send(event)
    outcome = await outcome_of(webhooks, event)
    assert outcome.next_retry_at
    assert outcome.next_retry_at > outcome.attempts[0].at
    (attempt,) = outcome.attempts
    assert (attempt.response_code, attempt.error) == (503, "http_status")
    assert "told to answer 503" in attempt.response_body


async def test_the_outcome_of_what_nobody_answered(webhooks: SvixWebhooks, endpoint: Endpoint, event: Event) -> None:
    await webhooks.open_endpoint(replace(endpoint, url=f"http://127.0.0.1:{services.free_port()}/"), SECRET)
    await webhooks.send(event)
    (attempt,) = (await outcome_of(webhooks, event)).attempts
    assert (attempt.response_code, attempt.response_body, attempt.error) == (None, "", "unreachable")


async def recent(webhooks: SvixWebhooks, endpoint: Endpoint, events: Sequence[Event]) -> Mapping[str, Outcome]:
    """Asked for together, once each was tried."""
    ids = [event.event_id for event in events]
    for event in events:
        await outcome_of(webhooks, event)
    return await webhooks.recent(
        endpoint.partner_id, endpoint.endpoint_id, datetime.now(UTC) - timedelta(minutes=1), ids
    )


async def test_many_events_outcomes_asked_for_together_are_those_asked_for_alone(
    webhooks: SvixWebhooks, endpoint: Endpoint, event: Event
) -> None:
    await webhooks.open_endpoint(endpoint, SECRET)
    events = [replace(event, event_id=f"evt_{number}") for number in range(5)]
    for each in events:
        await webhooks.send(each)
    told = await recent(webhooks, endpoint, events[:4])
    assert told == {each.event_id: (await webhooks.outcomes(each.partner_id, each.event_id))[0] for each in events[:4]}


async def test_of_events_on_later_pages_nothing_is_told_rather_than_a_part(
    webhooks: SvixWebhooks, endpoint: Endpoint, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svix_outcomes, "PAGE", 2)
    monkeypatch.setattr(svix_outcomes, "MOST_PAGES", 2)
    await webhooks.open_endpoint(endpoint, SECRET)
    events = [replace(event, event_id=f"evt_{number}") for number in range(6)]
    for each in events:
        await webhooks.send(each)
        await outcome_of(webhooks, each)
    told = await recent(webhooks, endpoint, events)
    assert {"evt_5", "evt_4"} <= told.keys() <= {"evt_5", "evt_4", "evt_3", "evt_2"}


async def test_of_an_endpoint_that_is_not_there_nothing_is_told(webhooks: SvixWebhooks, endpoint: Endpoint) -> None:
    assert await webhooks.recent(endpoint.partner_id, endpoint.endpoint_id, NOW, ["evt_1"]) == {}


# ── Failures ─────────────────────────────────────────────────────────────────────────────────────

TRY_AGAIN: list[dict[str, Any]] = [
    *({"status": status} for status in (401, 403, 408, 423, 429, 500, 502, 503, 504)),
    {"status": 502, "body": "<html>Bad Gateway</html>"},
    {"status": 404, "body": ""},
    {"status": 202, "body": ""},
    {"status": 202, "body": "{}"},
    {"status": 202, "body": "[]"},
    {"status": 202, "body": "null"},
    {"status": 202, "body": "[" * 100_000},
    {"status": 302, "headers": {"location": "https://elsewhere.example/"}},
]
NEVER: list[dict[str, Any]] = [
    *({"status": status} for status in (400, 413, 422)),
    {"status": 422, "body": '{"detail": "a text"}'},  # the SDK cannot read it, and hides the status
    {"status": 413, "body": "<html>Too Large</html>"},
]


@pytest.mark.parametrize("fault", TRY_AGAIN, ids=lambda fault: f"{fault['status']} {fault.get('body', '')[:20]}")
async def test_an_answer_that_may_be_better_next_time_means_try_again(
    webhooks: SvixWebhooks, svix: services.Service, event: Event, fault: dict[str, Any]
) -> None:
    await webhooks.send(replace(event, event_id="evt_first"))
    order_fault(svix, **fault, routes=SEND)
    with pytest.raises(WebhookServiceUnavailable):
        await webhooks.send(event)


@pytest.mark.parametrize("fault", NEVER, ids=str)
async def test_an_answer_that_will_never_be_better_is_a_refusal(
    webhooks: SvixWebhooks, svix: services.Service, event: Event, fault: dict[str, Any]
) -> None:
    await webhooks.send(replace(event, event_id="evt_first"))
    order_fault(svix, **fault, routes=SEND)
    with pytest.raises(Refused, match=str(fault["status"])):
        await webhooks.send(event)


async def test_a_refusal_does_not_tell_what_was_sent(
    webhooks: SvixWebhooks, svix: services.Service, endpoint: Endpoint
) -> None:
    order_fault(svix, status=422)
    with pytest.raises(Refused) as refusal:
        await webhooks.open_endpoint(endpoint, SECRET)
    assert SECRET not in str(refusal.value)


async def test_a_service_that_hangs_is_given_up_on(
    svix: services.Service, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svix_webhooks, "TIMEOUT_SECONDS", 0.2)
    impatient = SvixWebhooks(svix.secret, svix.url)
    order_fault(svix, hang_seconds=2)
    with pytest.raises(WebhookServiceUnavailable):
        await impatient.send(event)
    order_fault(svix, status=500, times=1)
    await impatient.close()


async def test_every_call_says_when_nobody_is_there(endpoint: Endpoint, event: Event) -> None:
    nobody = SvixWebhooks("token", f"http://127.0.0.1:{services.free_port()}")
    event_type = EventType(name="order.created", created_at=NOW, updated_at=NOW)
    calls = [
        nobody.open_endpoint(endpoint, SECRET),
        nobody.close_partner(event.partner_id),
        nobody.put_event_type(event_type),
        nobody.send(event),
        nobody.outcomes(event.partner_id, event.event_id),
        nobody.ping(),
    ]
    for call in calls:
        with pytest.raises(WebhookServiceUnavailable):
            await call
    await nobody.close()


async def test_ping_finds_who_is_there(webhooks: SvixWebhooks) -> None:
    await webhooks.ping()


@pytest.mark.parametrize(
    "error",
    [
        JSONDecodeError("no JSON", "", 0),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no UTF-8"),
        ValidationError.from_exception_data("MessageOut", []),
        *(AttributeError(), KeyError(), TypeError(), RecursionError(), httpx.InvalidURL("no URL")),
        *(aiohttp.ClientError(), aiohttp.http.HttpProcessingError()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_sdk_lets_out_is_ours(error: Exception) -> None:
    with pytest.raises(WebhookServiceUnavailable) as caught, translated():
        raise error
    assert caught.value.__cause__ is error


async def test_the_token_is_not_shown(webhooks: SvixWebhooks) -> None:
    assert webhooks.token not in repr(webhooks)


@pytest.mark.parametrize(("text", "kept"), [("x" * 3000, 2048), ("€" * 1000, 2046), ("é" * 2000, 2048), ("ok", 2)])
def test_an_answer_is_cut_to_its_first_bytes_at_a_whole_character(text: str, kept: int) -> None:
    short = svix_outcomes.cut(text)
    assert len(short.encode()) == kept
    assert text.startswith(short)


def test_what_cannot_be_stored_is_left_out_of_an_answer() -> None:
    assert svix_outcomes.cut("a\x00b\ud800c") == "ab?c"


async def test_another_token_is_used_from_the_next_call_on(svix: services.Service, event: Event) -> None:
    webhooks = SvixWebhooks("testsk_of_somebody_else", svix.url)
    with pytest.raises(WebhookServiceUnavailable):
        await webhooks.send(event)
    webhooks.use_token(svix.secret)
    await webhooks.send(event)
    await webhooks.close()
