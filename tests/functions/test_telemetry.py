"""Telemetry as an operator meets it: the real exporter, from the real host, to a stand-in of Azure's endpoint."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from shared_code.telemetry import REQUEST_COUNT
from tests.fault_proxy import Liar
from tests.functions.stack import Connected, Receiver, Stack, connecting, register, running_stack
from tests.ingestion import Envelope, Ingestion, ingestion
from tests.services import eventually
from tests.shared_servers import ask

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture(scope="module")
def taken() -> Iterator[Ingestion]:
    with ingestion() as running:
        yield running


@pytest.fixture(scope="module")
def backend() -> Iterator[Liar]:
    """A business backend that tells what it was asked."""
    with Liar() as running:
        yield running


@pytest.fixture(scope="module")
def observed(taken: Ingestion, backend: Liar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    changes = {**taken.environment, "XANO_API_URL": backend.url}
    with running_stack(tmp_path_factory.mktemp("observed"), ask("svix"), ask("partner"), **changes) as running:
        yield running


@pytest.fixture(scope="module")
def client(observed: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=observed.url, timeout=20, trust_env=False) as made:
        yield made


@pytest.fixture(scope="module")
def seen(client: httpx.Client, observed: Stack) -> Connected:
    """A partner that read its orders once, in a trace of its own."""
    partner = connecting(client, observed.admin)()
    read = client.get("/api/v1/orders", headers={**partner.key, **TRACEPARENT})
    assert read.status_code == 200
    return partner


def of_trace(envelopes: list[Envelope], trace: str = TRACE) -> list[Envelope]:
    return [each for each in envelopes if each["tags"].get("ai.operation.id") == trace]


def test_one_trace_from_the_caller_through_the_store_to_the_backend(seen: Connected, taken: Ingestion, backend: Liar):
    def names() -> set[str] | None:
        found = {each["data"]["baseData"]["name"] for each in of_trace(taken.envelopes("RemoteDependencyData"))}
        return found if {"resources_list", "postgresql reading"} <= found else None

    assert eventually(names)
    passed_on = [heard.headers.get("traceparent", "") for heard in backend.heard]
    assert any(each.split("-")[1:2] == [TRACE] for each in passed_on), passed_on


def test_a_request_is_a_custom_event_of_its_trace(seen: Connected, taken: Ingestion):
    found = eventually(lambda: of_trace(taken.events("ApiRequest"))) or []
    assert len(found) == 1
    event = properties(found[0])
    assert event["partnerId"] == seen.id
    assert (event["endpoint"], event["statusCode"]) == ("api/v1/{resource}", "200")
    assert float(event["durationMs"]) > 0


def test_a_trace_that_its_caller_does_not_keep_goes_on_unkept_and_is_counted(
    seen: Connected, client: httpx.Client, taken: Ingestion, backend: Liar
):
    """As the host says it of a trace that is over its limit. The next one that is kept stands for these, too."""
    left_out, kept = [uuid4().hex for _ in range(3)], uuid4().hex
    for trace, flags in [*((trace, "00") for trace in left_out), (kept, "01")]:
        headers = {**seen.key, "Cache-Control": "no-cache", "traceparent": f"00-{trace}-b7ad6b7169203331-{flags}"}
        assert client.get("/api/v1/orders", headers=headers).status_code == 200
    passed_on = [heard.headers.get("traceparent", "") for heard in backend.heard]
    assert {each[3:35]: each[-2:] for each in passed_on if each[3:35] in left_out} == dict.fromkeys(left_out, "00")
    assert [each[-2:] for each in passed_on if each[3:35] == kept] == ["01"]
    (event,) = eventually(lambda: of_trace(taken.events("ApiRequest"), kept)) or []
    stands_for = int(properties(event)["itemCount"])
    assert stands_for >= 4
    spans = eventually(lambda: of_trace(taken.envelopes("RemoteDependencyData"), kept)) or []
    assert {each["sampleRate"] for each in spans} == {100 / stands_for}
    assert [trace for trace in left_out for body in taken.raw if trace in body] == []


def test_durations_and_counts_arrive_as_metrics(seen: Connected, taken: Ingestion):
    def of_route(metric: str) -> list[float]:
        found = [each["data"]["baseData"] for each in taken.metric(metric)]
        mine = [each for each in found if each["properties"]["route"] == "api/v1/{resource}"]
        return [each["metrics"][0]["value"] for each in mine if each["properties"]["status"] == "200"]

    seconds, counts = eventually(lambda: of_route("pinksync.request.duration")) or [], of_route(REQUEST_COUNT)
    assert all(0 < each < 60 for each in seconds)
    assert all(each >= 1 for each in counts), "what stands still sends no rows"
    assert counts
    assert eventually(lambda: taken.metric("pinksync.cache.misses"))


def test_the_webhook_carries_the_trace_its_event_was_published_in(
    seen: Connected, client: httpx.Client, observed: Stack, taken: Ingestion, receiver: Receiver
):
    register(client, seen.key, receiver)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    published = {"event_type": "order.created", "payload": {"order_id": "ord_1"}}
    headers = {**seen.key, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert client.post("/api/events", json=published, headers=headers).status_code == 202
    (came,) = receiver.wait_for(1)
    assert came["headers"]["traceparent"].split("-")[1] == trace

    def delivered() -> list[Envelope]:
        return [each for each in taken.events("WebhookDelivery") if properties(each)["partnerId"] == seen.id]

    told = eventually(delivered) or []
    assert [(properties(each)["outcome"], properties(each)["eventType"]) for each in told] == [
        ("delivered", "order.created")
    ]
    assert eventually(lambda: taken.metric("pinksync.webhook.deliveries"))


def test_a_partner_that_connects_or_is_suspended_is_told_of(
    seen: Connected, client: httpx.Client, observed: Stack, taken: Ingestion
):
    other = connecting(client, observed.admin)()
    assert client.post(f"{other.path}/suspend", headers=observed.admin).status_code == 200

    def told() -> bool:
        found = [properties(each) for each in taken.events("PartnerConnection")]
        mine = {each["status"] for each in found if each["partnerId"] == other.id}
        return mine == {"partner.connected", "partner.suspended"}

    assert eventually(told)


def properties(envelope: Envelope) -> dict[str, str]:
    return envelope["data"]["baseData"]["properties"]


def test_no_secret_is_sent(seen: Connected, observed: Stack, taken: Ingestion):
    assert taken.raw
    secrets = [seen.api_key, observed.admin["Authorization"].removeprefix("Bearer ")]
    secrets += [observed.env[name] for name in ("SVIX_TOKEN", "XANO_API_KEY", "KEY_PEPPER", "CACHE_KEY")]
    assert not [body for body in taken.raw for secret in secrets if secret in body]
