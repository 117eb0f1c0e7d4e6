"""Telemetry as an operator meets it: the real exporter, from the real host, to a stand-in of Azure's endpoint."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fault_proxy import Liar
from tests.functions.stack import Connected, Stack, connecting, running_stack
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


def of_trace(envelopes: list[Envelope]) -> list[Envelope]:
    return [each for each in envelopes if each["tags"].get("ai.operation.id") == TRACE]


def test_one_trace_from_the_caller_through_the_store_to_the_backend(seen: Connected, taken: Ingestion, backend: Liar):
    def names() -> set[str] | None:
        found = {each["data"]["baseData"]["name"] for each in of_trace(taken.envelopes("RemoteDependencyData"))}
        return found if {"resources_list", "postgresql reading"} <= found else None

    assert eventually(names)
    passed_on = [heard.headers.get("traceparent", "") for heard in backend.heard]
    assert any(each.split("-")[1:2] == [TRACE] for each in passed_on), passed_on


def test_a_request_is_a_custom_event_of_its_trace(seen: Connected, taken: Ingestion):
    found = eventually(lambda: of_trace(taken.events("ApiRequest")))
    (event,) = found or ()
    properties = event["data"]["baseData"]["properties"]
    assert properties["partnerId"] == seen.id
    assert properties["endpoint"] == "api/v1/{resource}"
    assert properties["statusCode"] == "200"
    assert float(properties["durationMs"]) > 0


def test_durations_and_counts_arrive_as_metrics(seen: Connected, taken: Ingestion):
    def timed() -> list[Envelope]:
        found = taken.metric("pinksync.request.duration")
        return [each for each in found if each["data"]["baseData"]["properties"]["route"] == "api/v1/{resource}"]

    assert eventually(timed)
    assert eventually(lambda: taken.metric("pinksync.cache.misses"))


def test_no_secret_is_sent(seen: Connected, observed: Stack, taken: Ingestion):
    assert taken.raw
    secrets = [seen.api_key, observed.admin["Authorization"].removeprefix("Bearer ")]
    secrets += [observed.env[name] for name in ("SVIX_TOKEN", "XANO_API_KEY", "KEY_PEPPER", "CACHE_KEY")]
    assert not [body for body in taken.raw for secret in secrets if secret in body]
