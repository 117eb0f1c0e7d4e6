"""GET /metrics: who may read it, what it says, and that it speaks for every process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests import services
from tests.functions.stack import Connected, Headers, Stack, connecting, refused, running_stack
from tests.services import eventually
from tests.shared_servers import ask

TOKEN = "metrics-token-of-this-test"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway that nobody else uses."""
    folder = tmp_path_factory.mktemp("watched")
    with running_stack(folder, ask("svix"), ask("partner"), METRICS_TOKEN=TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def clients(watched: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Of two processes that share everything."""
    with ExitStack() as closing:
        second = closing.enter_context(services.start_host(tmp_path_factory.mktemp("second"), watched.env))
        made = [httpx.Client(base_url=url, timeout=20, trust_env=False) for url in (watched.url, second.url)]
        yield closing.enter_context(made[0]), closing.enter_context(made[1])


@pytest.fixture(scope="module")
def partner(clients: tuple[httpx.Client, httpx.Client], watched: Stack) -> Connected:
    return connecting(clients[0], watched.admin)()


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def families(api: httpx.Client) -> dict[str, Metric]:
    """As Prometheus reads them."""
    answer = api.get("/metrics", params={"format": "prometheus"}, headers=bearer(TOKEN))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("text/plain", "text/plain"),
        ("application/openmetrics-text;version=1.0.0;q=0.5,Text/Plain;version=0.0.4;q=0.3,*/*;q=0.1", "text/plain"),
        ("application/json, text/plain, */*", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_it_answers_in_the_form_that_is_asked_for_first(
    clients: tuple[httpx.Client, httpx.Client], accept: str, form: str
):
    answer = clients[0].get("/metrics", headers=bearer(TOKEN) | {"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == form


def count_of(api: httpx.Client, route: str, status: str) -> float:
    samples = families(api)["pinksync_request_duration_seconds"].samples
    wanted = {"route": route, "method": "GET", "status": status}
    return sum(each.value for each in samples if each.name.endswith("_count") and each.labels == wanted)


def test_only_an_admin_and_the_token_may_read_it(
    clients: tuple[httpx.Client, httpx.Client], watched: Stack, partner: Connected
):
    api = clients[0]
    refused(api.get("/metrics"), 401)
    refused(api.get("/metrics", headers=bearer(TOKEN[:-1])), 401)
    refused(api.get("/metrics", headers=partner.key), 403)
    assert api.get("/metrics", headers=bearer(TOKEN)).status_code == 200
    assert api.get("/metrics", headers={"X-API-Key": TOKEN}).status_code == 200
    assert api.get("/metrics", headers=watched.admin).status_code == 200


def test_the_token_opens_nothing_else(clients: tuple[httpx.Client, httpx.Client]):
    for path in ("/api/test", "/api/partners", "/api/logs"):
        refused(clients[0].get(path, headers=bearer(TOKEN)), 401)


def test_without_a_token_set_an_empty_one_opens_nothing(api: httpx.Client):
    refused(api.get("/metrics", headers={"Authorization": "Bearer"}), 401)


def test_the_numbers_of_the_original_design(clients: tuple[httpx.Client, httpx.Client], partner: Connected):
    api = clients[0]
    api.get("/api/test", headers=partner.key)
    told = eventually(lambda: read_with_requests(api))
    assert told["active_partners"] >= 1
    assert told["total_api_requests_today"] > 0
    assert told["avg_response_time_ms"] > 0
    assert told["webhook_success_rate"] is None
    assert told["all_processes"] is True


def read_with_requests(api: httpx.Client) -> dict[str, float] | None:
    told = api.get("/metrics", headers=bearer(TOKEN)).json()
    return told if told["total_api_requests_today"] else None


def test_each_request_is_counted_once_whichever_process_had_it(
    clients: tuple[httpx.Client, httpx.Client], partner: Connected
):
    before = count_of(clients[0], "api/webhooks/{endpoint_id}", "404")
    with ThreadPoolExecutor(8) as pool:
        asking = [
            pool.submit(clients[number % 2].get, f"/api/webhooks/none{number}", headers=partner.key)
            for number in range(60)
        ]
    assert {each.result().status_code for each in asking} == {404}
    for api in clients:
        eventually(lambda api=api: count_of(api, "api/webhooks/{endpoint_id}", "404") == before + 60)


def test_prometheus_gets_buckets_that_add_up(clients: tuple[httpx.Client, httpx.Client], partner: Connected):
    clients[0].get("/api/test", headers=partner.key)
    eventually(lambda: count_of(clients[0], "api/test", "200") > 0)
    samples = families(clients[0])["pinksync_request_duration_seconds"].samples
    mine = [each for each in samples if each.labels.get("route") == "api/test" and each.labels["status"] == "200"]
    buckets = [each.value for each in mine if each.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == next(each.value for each in mine if each.name.endswith("_count"))


def test_a_refusal_for_a_limit_and_a_cached_read_are_counted(
    clients: tuple[httpx.Client, httpx.Client], watched: Stack
):
    api = clients[0]
    narrow = connecting(api, watched.admin)(rate_limit_per_minute=3, scopes=["read:orders"])
    for _ in range(6):
        api.get("/api/v1/orders", headers=narrow.key)
    found = eventually(lambda: counted(api, narrow.id))
    assert found["pinksync_cache_misses"] >= 1
    assert found["pinksync_cache_hits"] >= 1
    assert found["pinksync_ratelimit_rejected"] >= 1


def counted(api: httpx.Client, partner_id: str) -> dict[str, float] | None:
    found = families(api)
    refusals = [each.value for each in found["pinksync_ratelimit_rejected"].samples if partner_id in str(each.labels)]
    names = ("pinksync_cache_hits", "pinksync_cache_misses")
    sums = {name: sum(each.value for each in found[name].samples) for name in names}
    return {**sums, "pinksync_ratelimit_rejected": sum(refusals)} if refusals and all(sums.values()) else None


def test_a_format_that_is_not_known_is_refused(clients: tuple[httpx.Client, httpx.Client]):
    refused(clients[0].get("/metrics", params={"format": "xml"}, headers=bearer(TOKEN)), 400)
