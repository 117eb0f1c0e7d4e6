"""The five alert rules as the templates make them, run on rows: each wakes somebody when it should, and only then."""

import operator
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.check.evaluate import Resource
from infra.check.faults import TEMPLATES, environment
from tests.infra import kql
from tests.infra.kql import Rows, answer

COMPARE = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
    "LessThan": operator.lt,
}
RULES: Mapping[str, Resource] = {
    rule.name.removeprefix("alert-pinksync-prod-weu-"): rule
    for rule in environment("prod").of_type("Insights/scheduledQueryRules")
}


def woken(name: str, **tables: Rows) -> list[str]:
    """Who or what the rule fires for: one word per row over the threshold, like Azure does it.

    A rule sees the rows of its window; each combination of dimensions is judged apart.
    """
    rule = RULES[name].properties
    [condition] = rule["criteria"]["allOf"]
    since = datetime.now(UTC) - duration(rule["windowSize"])
    seen = {table: [row for row in rows if row.get("TimeGenerated", since) >= since] for table, rows in tables.items()}
    over = COMPARE[condition["operator"]]
    dimensions = [each["name"] for each in condition["dimensions"]]
    return [
        " ".join(str(row[dimension]) for dimension in dimensions) or name
        for row in answer(condition["query"], **seen)
        if over(row[condition["metricMeasureColumn"]], condition["threshold"])
    ]


def duration(text: str) -> timedelta:
    number, unit = re.fullmatch(r"PT(\d+)([HM])", text).groups()  # type: ignore[union-attr]
    return timedelta(**{"hours" if unit == "H" else "minutes": int(number)})


def requests(count: int, code: int = 200, name: str = "partner_list", **more: Any) -> dict[str, Any]:
    return {"Name": name, "ResultCode": str(code), "ItemCount": count, **more}


def counted(name: str, total: float, **more: Any) -> dict[str, Any]:
    properties = {key: value for key, value in more.items() if key[0].islower()}
    columns = {key: value for key, value in more.items() if key[0].isupper()}
    return {"Name": f"pinksync.{name}", "Sum": total, "Properties": properties, **columns}


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def test_there_are_five_rules_and_each_has_its_own_query() -> None:
    files = {path.stem: path.read_text() for path in (TEMPLATES / "kql").glob("*.kql")}
    assert {name: rule.properties["criteria"]["allOf"][0]["query"] for name, rule in RULES.items()} == files
    assert len(files) == 5


def test_the_rules_look_as_often_as_the_design_says() -> None:
    seen = {
        name: (rule.properties["windowSize"], rule.properties["evaluationFrequency"], rule.properties["severity"])
        for name, rule in RULES.items()
    }
    assert seen == {
        "api-error-rate": ("PT5M", "PT5M", 1),
        "webhook-success": ("PT15M", "PT5M", 2),
        "rate-limit": ("PT1H", "PT15M", 3),
        "postgres-app-errors": ("PT5M", "PT5M", 2),
        "cache-miss": ("PT15M", "PT15M", 3),
    }


# ── API error rate above 5 % over 5 minutes ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "rows",
    [
        [requests(94), requests(6, 500)],
        [requests(940), requests(60, 503), requests(500, 404), requests(500, 429), requests(100, 502)],
        [requests(94), requests(6, 500), requests(10_000, name="health")],
        [requests(94), requests(6, 500), requests(10_000, name="GET /api/health"), requests(9_000, name="ready")],
        [requests(1, 500) for _ in range(50)],
    ],
)
def test_errors_wake_somebody(rows: Rows) -> None:
    assert woken("api-error-rate", AppRequests=rows) == ["api-error-rate"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [requests(95), requests(5, 500)],
        [requests(100, 404), requests(100, 429), requests(100, 401)],
        [requests(40), requests(9, 500)],
        [requests(1000, 500, TimeGenerated=ago(minutes=6)), requests(1000)],
        [requests(1000, 503, name="ready"), requests(1000)],
    ],
)
def test_few_errors_wake_nobody(rows: Rows) -> None:
    assert woken("api-error-rate", AppRequests=rows) == []


# ── Webhook success below 90 % ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "rows",
    [
        [counted("webhook.deliveries", 89, outcome="delivered"), counted("webhook.deliveries", 11, outcome="failed")],
        [counted("webhook.deliveries", 20, outcome="failed")],
        [counted("webhook.deliveries", 17, outcome="delivered"), counted("webhook.deliveries", 3, outcome="failed"),
         counted("webhook.deliveries", 900, outcome="pending")],
    ],
)  # fmt: skip
def test_lost_webhooks_wake_somebody(rows: Rows) -> None:
    assert woken("webhook-success", AppMetrics=rows) == ["webhook-success"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [counted("webhook.deliveries", 90, outcome="delivered"), counted("webhook.deliveries", 10, outcome="failed")],
        [counted("webhook.deliveries", 19, outcome="failed")],
        [counted("webhook.deliveries", 100, outcome="failed", TimeGenerated=ago(minutes=16))],
        [counted("jobs", 100, outcome="failed")],
    ],
)
def test_webhooks_that_arrive_wake_nobody(rows: Rows) -> None:
    assert woken("webhook-success", AppMetrics=rows) == []


# ── A partner limited ten times within an hour ───────────────────────────────────────────────────


def limited(partner: str, count: float, **more: Any) -> dict[str, Any]:
    return counted("ratelimit.rejected", count, partner_id=partner, **more)


def test_each_limited_partner_is_named() -> None:
    rows = [limited("a", 6, TimeGenerated=ago(minutes=50)), limited("a", 4), limited("b", 30), limited("c", 9)]
    assert sorted(woken("rate-limit", AppMetrics=rows)) == ["a", "b"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [limited("a", 9), limited("b", 9)],
        [limited("a", 9), limited("a", 9, TimeGenerated=ago(minutes=61))],
        [limited("", 500), counted("ratelimit.rejected", 500)],
    ],
)
def test_a_partner_now_and_then_limited_wakes_nobody(rows: Rows) -> None:
    assert woken("rate-limit", AppMetrics=rows) == []


# ── PostgreSQL cannot be reached ─────────────────────────────────────────────────────────────────


def test_a_failed_connection_wakes_somebody() -> None:
    assert woken("postgres-app-errors", AppMetrics=[counted("db.connection_errors", 1)]) == ["postgres-app-errors"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [counted("db.connection_errors", 0)],
        [counted("db.connection_errors", 9, TimeGenerated=ago(minutes=6))],
        [counted("cache.misses", 9)],
    ],
)
def test_a_database_that_answers_wakes_nobody(rows: Rows) -> None:
    assert woken("postgres-app-errors", AppMetrics=rows) == []


def test_the_server_itself_is_watched_too() -> None:
    """Its own view: connections that it refused, and whether it lives at all."""
    rules = [
        rule.properties["criteria"]["allOf"][0] for rule in environment("prod").of_type("Insights/metricAlerts")[:2]
    ]
    assert [(rule["metricName"], rule["timeAggregation"], rule["operator"], rule["threshold"]) for rule in rules] == [
        ("connections_failed", "Total", "GreaterThan", 10),
        ("is_db_alive", "Maximum", "LessThan", 1),
    ]


# ── Cache miss rate above 50 % ───────────────────────────────────────────────────────────────────


def looked_up(hits: float, misses: float) -> Rows:
    return [counted("cache.hits", hits), counted("cache.misses", misses)]


@pytest.mark.parametrize("rows", [looked_up(249, 251), looked_up(0, 500), [counted("cache.misses", 900)]])
def test_a_cold_cache_wakes_somebody(rows: Rows) -> None:
    assert woken("cache-miss", AppMetrics=rows) == ["cache-miss"]


@pytest.mark.parametrize("rows", [[], looked_up(250, 250), looked_up(9000, 10), looked_up(0, 499)])
def test_a_warm_or_idle_cache_wakes_nobody(rows: Rows) -> None:
    assert woken("cache-miss", AppMetrics=rows) == []


# ── The queries, and the engine they are tried on ────────────────────────────────────────────────


def test_microsofts_parser_has_nothing_against_the_queries() -> None:
    queries = {name: rule.properties["criteria"]["allOf"][0]["query"] for name, rule in RULES.items()}
    wrong = {
        "column": "AppMetrics | where Nam == 'x'",
        "table": "AppMetricz | count",
        "function": "AppMetrics | extend a = tostrin(Name)",
        "syntax": "AppMetrics | where (Name == 'x'",
    }
    found = kql.complaints({**queries, **wrong})
    assert {name: found[name] for name in queries} == {name: [] for name in queries}
    assert all(found[name] for name in wrong), "it would not have noticed"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("AppMetrics | where Name == 'A' | summarize N = count()", 1),
        ("AppMetrics | where Name =~ 'A' | summarize N = count()", 2),
        ("AppMetrics | where Name in ('a', 'z') | summarize N = count()", 1),
        ("AppMetrics | where Name contains 'B' | summarize N = count()", 1),
        ("AppMetrics | where Name !contains 'B' | summarize N = count()", 2),
        ("AppMetrics | where Name endswith 'c' | summarize N = count()", 1),
        ("AppMetrics | summarize N = sumif(Sum, tostring(Properties.shape) == 'x')", 4.0),
        ("AppMetrics | where isnotempty(tostring(Properties.shape)) | summarize N = count()", 2),
        ("AppMetrics | where toint('abc') >= 1 | summarize N = count()", 0),
        ("AppMetrics | summarize T = sum(Sum) | project N = round(100.0 * T / 7, 2)", 85.71),
    ],
)
def test_the_engine_means_what_kusto_means(query: str, expected: float) -> None:
    rows = [
        {"Name": "a", "Sum": 1.0, "Properties": {"shape": "x"}},
        {"Name": "A", "Sum": 2.0, "Properties": {"shape": ""}},
        {"Name": "abC", "Sum": 3.0, "Properties": {"shape": "x"}},
    ]
    assert answer(query, AppMetrics=rows)[0]["N"] == expected
