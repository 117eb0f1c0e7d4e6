"""What of the tally becomes rows of metrics, by the real SDK and in the form that Azure Monitor's exporter asks for."""

from collections.abc import Iterator, Sequence

import pytest
from azure.monitor.opentelemetry.exporter.export.metrics._exporter import APPLICATION_INSIGHTS_METRIC_TEMPORALITIES
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from shared_code import telemetry
from shared_code.adapters.azure_monitor import count_with

type Rows = dict[str, Sequence[tuple[object, ...]]]


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    made = InMemoryMetricReader(preferred_temporality=APPLICATION_INSIGHTS_METRIC_TEMPORALITIES)
    provider = MeterProvider([made])
    count_with(provider.get_meter("test"))
    made.get_metrics_data()  # what other tests of this process have counted
    yield made
    provider.shutdown()


def rows(reader: InMemoryMetricReader) -> Rows:
    """By metric: each row's labels, and its number."""
    data = reader.get_metrics_data()
    metrics = (
        [each for of in data.resource_metrics for scope in of.scope_metrics for each in scope.metrics] if data else []
    )
    return {
        each.name: [
            (*(point.attributes or {}).values(), point.value)
            for point in each.data.data_points
            if isinstance(point, NumberDataPoint)
        ]
        for each in metrics
    }


def test_each_row_is_what_was_added_since_the_last(reader: InMemoryMetricReader) -> None:
    for seconds in (0.25, 0.5):
        telemetry.REQUESTS.add(seconds, "api/rows", "GET", "200")
    telemetry.DELIVERIES.add("delivered")
    assert rows(reader) == {
        "pinksync.request.duration": [("api/rows", "GET", "200", 0.75)],
        "pinksync.request.count": [("api/rows", "GET", "200", 2)],
        "pinksync.webhook.deliveries": [("delivered", 1)],
    }
    assert rows(reader) == {}, "what stands still sends no rows"
    telemetry.REQUESTS.add(1.0, "api/rows", "GET", "200")
    telemetry.REQUESTS.add(2.0, "api/rows", "GET", "503")
    assert rows(reader) == {
        "pinksync.request.duration": [("api/rows", "GET", "200", 1.0), ("api/rows", "GET", "503", 2.0)],
        "pinksync.request.count": [("api/rows", "GET", "200", 1), ("api/rows", "GET", "503", 1)],
    }


def test_a_gauge_is_told_of_once_each_time_it_is_measured(reader: InMemoryMetricReader) -> None:
    """Another process may have measured since; this one's would stand beside it for good."""
    telemetry.TIMER_LAG.set({("outbox",): 3.0})
    assert rows(reader) == {"pinksync.timer.lag_seconds": [("outbox", 3.0)]}
    assert rows(reader) == {}
    telemetry.TIMER_LAG.set({("outbox",): 3.0})
    assert rows(reader) == {"pinksync.timer.lag_seconds": [("outbox", 3.0)]}
