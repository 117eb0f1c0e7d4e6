"""ports.WebhookService, as the in-memory one keeps it for the services' tests."""

from collections.abc import Awaitable, Callable

import pytest

from shared_code import errors
from shared_code.adapters.memory_webhooks import MemoryWebhookService
from shared_code.ports import Outcome, Refused, WebhookService
from tests.contracts.samples import NOW, new_attempt, new_endpoint, new_event, new_event_type, new_partner

PARTNER = new_partner().partner_id
ENDPOINT, EVENT, EVENT_TYPE = new_endpoint(PARTNER), new_event(PARTNER), new_event_type()
CALLS: dict[str, tuple[str, Callable[[WebhookService], Awaitable[object]]]] = {
    "open_endpoint": (ENDPOINT.endpoint_id, lambda service: service.open_endpoint(ENDPOINT, "whsec_x")),
    "close_partner": (str(PARTNER), lambda service: service.close_partner(PARTNER)),
    "put_event_type": (EVENT_TYPE.name, lambda service: service.put_event_type(EVENT_TYPE)),
    "send": (EVENT.event_id, lambda service: service.send(EVENT)),
}


@pytest.fixture
def service() -> MemoryWebhookService:
    return MemoryWebhookService()


async def test_every_call_is_safe_to_repeat(service: MemoryWebhookService):
    ids = [await service.open_endpoint(ENDPOINT, "whsec_x") for _ in range(2)]
    for _ in range(2):
        await service.put_event_type(EVENT_TYPE)
        await service.send(EVENT)
    assert ids[0] == ids[1]
    assert [opened.endpoint for opened in service.opened.values()] == [ENDPOINT]
    assert list(service.sent.values()) == [EVENT]
    assert service.event_types == {EVENT_TYPE.name: EVENT_TYPE}


async def test_closing_a_partner_closes_its_endpoints_alone(service: MemoryWebhookService):
    other = new_endpoint(new_partner().partner_id)
    await service.open_endpoint(ENDPOINT, "whsec_x")
    await service.open_endpoint(other, "whsec_y")
    await service.close_partner(PARTNER)
    assert list(service.opened) == [other.endpoint_id]
    assert service.closed == [PARTNER]


async def test_an_outcome_is_told_once_it_is_set(service: MemoryWebhookService):
    outcome = Outcome(
        endpoint_id=ENDPOINT.endpoint_id, attempts=[new_attempt(ENDPOINT.endpoint_id, NOW, 200)], next_retry_at=None
    )
    assert await service.outcomes(PARTNER, EVENT.event_id) == []
    service.set_outcome(EVENT, outcome)
    assert await service.outcomes(PARTNER, EVENT.event_id) == [outcome]


@pytest.mark.parametrize("name", CALLS)
async def test_when_it_is_down_every_call_fails_and_does_nothing(service: MemoryWebhookService, name: str):
    subject, call = CALLS[name]
    service.down = True
    with pytest.raises(errors.WebhookServiceUnavailable):
        await call(service)
    with pytest.raises(errors.WebhookServiceUnavailable):
        await service.ping()
    assert not any((service.opened, service.sent, service.event_types, service.closed))
    assert service.calls[0] == (name, subject)


@pytest.mark.parametrize("name", CALLS)
async def test_what_it_refuses_it_refuses_for_good(service: MemoryWebhookService, name: str):
    subject, call = CALLS[name]
    service.refusals[subject] = "not like this"
    for _ in range(2):
        with pytest.raises(Refused, match="not like this"):
            await call(service)
    assert not any((service.opened, service.sent, service.event_types, service.closed))
