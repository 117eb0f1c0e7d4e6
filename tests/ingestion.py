"""A stand-in for Azure Monitor's ingestion endpoint: takes what the real exporter posts, and keeps it."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

type Envelope = dict[str, Any]


@dataclass(slots=True)
class Ingestion:
    url: str
    raw: list[str] = field(default_factory=list[str])
    """Every body as it came, unzipped."""

    @property
    def environment(self) -> dict[str, str]:
        """The settings that send a process's telemetry here, all of it, soon, and nowhere else."""
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={uuid4()};IngestionEndpoint={self.url}/",
            "PYTHON_ENABLE_OPENTELEMETRY": "true",
            "OTEL_TRACES_SAMPLER": "microsoft.rate_limited",
            "OTEL_TRACES_SAMPLER_ARG": "1000",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BLRP_SCHEDULE_DELAY": "200",
            "OTEL_SERVICE_NAME": "func-pinksync",
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        }

    def envelopes(self, kind: str) -> list[Envelope]:
        """What came of one kind: EventData, MetricData, RemoteDependencyData, MessageData, ExceptionData."""
        found = [envelope for body in list(self.raw) for envelope in each(body)]
        return [envelope for envelope in found if envelope["data"]["baseType"] == kind]

    def events(self, name: str) -> list[Envelope]:
        return [each for each in self.envelopes("EventData") if each["data"]["baseData"]["name"] == name]

    def metric(self, name: str) -> list[Envelope]:
        """The data points of one metric, each with its properties."""
        found = self.envelopes("MetricData")
        return [each for each in found if each["data"]["baseData"]["metrics"][0]["name"] == name]


def each(body: str) -> list[Envelope]:
    """The exporter posts a JSON list, or one document a line."""
    if body.startswith("["):
        return json.loads(body)
    return [json.loads(line) for line in body.splitlines() if line]


@contextmanager
def ingestion() -> Iterator[Ingestion]:
    kept: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            kept.append(body.decode())
            count = len(each(kept[-1]))
            answer = json.dumps({"itemsReceived": count, "itemsAccepted": count, "errors": []}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Ingestion(f"http://127.0.0.1:{server.server_port}", kept)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
