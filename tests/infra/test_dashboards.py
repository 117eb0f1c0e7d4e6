"""The dashboards: whole, explained, and with queries that are right and name metrics that exist."""

import json
import re
from dataclasses import fields
from typing import Any

import promql_parser
import pytest

from devstack.process import ROOT
from functions.metrics import prometheus_name
from shared_code import telemetry
from shared_code.ports import Figures
from tests.infra import kql

FOLDER = ROOT / "infra" / "grafana"
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PROMETHEUS_METRICS = {
    "pinksync_request_duration_seconds_bucket", "pinksync_request_duration_seconds_sum",
    "pinksync_request_duration_seconds_count", "pinksync_webhook_deliveries_total",
    "pinksync_ratelimit_rejected_total", "pinksync_cache_hits_total", "pinksync_cache_misses_total",
    "pinksync_outbox_age_seconds", "pinksync_timer_lag_seconds", "pinksync_circuit_open", "pinksync_jobs_total",
    "pinksync_active_partners", "pinksync_db_connection_errors_total",
}  # fmt: skip
AZURE_METRICS = {
    "pinksync.webhook.deliveries", "pinksync.ratelimit.rejected", "pinksync.cache.hits", "pinksync.cache.misses",
    "pinksync.db.connection_errors", "pinksync.request.duration", "pinksync.request.count",
    "pinksync.outbox.age_seconds", "pinksync.timer.lag_seconds", "pinksync.circuit.open", "pinksync.jobs",
}  # fmt: skip
EVENTS = {"PartnerConnection", "ApiRequest", "WebhookDelivery"}


def panels(board: str) -> list[dict[str, Any]]:
    return BOARDS[board]["panels"]


def expressions() -> dict[str, str]:
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "5m")
        for panel in panels("prometheus")
        for target in panel["targets"]
    }


def queries() -> dict[str, str]:
    """As Grafana would send them."""
    return {
        panel["title"]: target["azureLogAnalytics"]["query"]
        .replace("$__timeFilter(TimeGenerated)", "TimeGenerated > ago(6h)")
        .replace("$__interval", "5m")
        for panel in panels("azure-monitor")
        for target in panel["targets"]
    }


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_is_whole(board: str) -> None:
    ids = [panel["id"] for panel in panels(board)]
    assert sorted(set(ids)) == ids
    assert BOARDS[board]["uid"]
    assert [panel["title"] for panel in panels(board) if len(panel["description"]) < 40 or not panel["targets"]] == []
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels(board)]
    assert len(set(places)) == len(places)
    names = {variable["name"] for variable in BOARDS[board]["templating"]["list"]}
    assert set(re.findall(r"\$\{(\w+)\}", json.dumps(BOARDS[board]))) <= names


def test_both_show_the_same_and_the_page_explains_it() -> None:
    page = (ROOT / "docs" / "dashboards.md").read_text()
    meanings = [(panel["title"], panel["description"]) for panel in panels("azure-monitor")]
    assert meanings == [(panel["title"], panel["description"]) for panel in panels("prometheus")]
    assert [title for title, meaning in meanings if f"| {title} | {meaning} |" not in page] == []


def test_prometheus_would_take_every_expression() -> None:
    for expression in expressions().values():
        promql_parser.parse(expression)
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        promql_parser.parse("sum(rate(pinksync_jobs_total[5m])")


def test_the_expressions_name_metrics_that_there_are() -> None:
    named = {name for each in expressions().values() for name in re.findall(r"pinksync_\w+", each)}
    assert named - PROMETHEUS_METRICS == set()
    assert PROMETHEUS_METRICS - named == set(), "a metric that no panel shows"


def test_microsofts_parser_has_nothing_against_the_queries() -> None:
    assert kql.complaints(queries()) == {name: [] for name in queries()}


def test_the_queries_name_metrics_and_events_that_there_are() -> None:
    text = "\n".join(queries().values())
    assert set(re.findall(r"'(pinksync\.[\w.]+)'", text)) == AZURE_METRICS
    assert set(re.findall(r"Name == '([A-Z]\w+)'", text)) <= EVENTS


@pytest.mark.parametrize("title", queries())
def test_a_query_answers_on_rows(title: str) -> None:
    properties = {
        "route": "/api/x",
        "outcome": "delivered",
        "timer": "t",
        "name": "xano",
        "partner_id": "p",
        "status": "active",
    }
    metrics = [
        {"Name": name, "Sum": 4.0, "Max": 2.0, "ItemCount": 2, "Properties": properties} for name in AZURE_METRICS
    ]
    requests = [{"Name": "partner_list", "ResultCode": "200", "DurationMs": 12.0, "ItemCount": 3}]
    events = [{"Name": "PartnerConnection", "ItemCount": 1, "Properties": properties}]
    [row] = kql.answer(queries()[title], AppMetrics=metrics, AppRequests=requests, AppEvents=events)
    assert all(value is not None for value in row.values()), row


def test_percentiles_go_by_how_many_requests_a_row_stands_for() -> None:
    rows = [("usual", 10.0, 97), ("slow", 300.0, 2), ("slowest", 900.0, 1)]
    requests = [{"Name": name, "DurationMs": took, "ItemCount": count} for name, took, count in rows]
    [row] = kql.answer(queries()["Response time"], AppRequests=requests)
    assert (row["p50"], row["p95"], row["p99"]) == (10.0, 10.0, 300.0)


def test_a_routes_mean_is_its_seconds_by_its_requests() -> None:
    metrics = [
        {"Name": f"pinksync.request.{name}", "Sum": total, "ItemCount": 1, "Properties": {"route": route}}
        for route, seconds, count in [("a", 4.0, 2), ("b", 1.0, 100), ("a", 2.0, 1)]
        for name, total in [("duration", seconds), ("count", count)]
    ]
    found = kql.answer(queries()["Slowest routes"], AppMetrics=metrics)
    assert [(row["Route"], row["MeanSeconds"]) for row in found] == [("a", 2.0), ("b", 0.01)]


def test_every_metric_that_a_panel_names_is_one_that_the_gateway_has() -> None:
    counters = {f"{prometheus_name(each.name)}_total" for each in telemetry.COUNTERS}
    gauges = {prometheus_name(each.name) for each in telemetry.GAUGES}
    figures = {f"pinksync_{each.name}" for each in fields(Figures)}
    durations = {f"{prometheus_name(telemetry.REQUESTS.name)}_seconds_{end}" for end in ("bucket", "sum", "count")}
    assert PROMETHEUS_METRICS - counters - gauges - figures - durations == set()
    azure = {each.name for each in (*telemetry.COUNTERS, *telemetry.GAUGES, telemetry.REQUESTS)}
    assert azure | {telemetry.REQUEST_COUNT} >= AZURE_METRICS
