"""The original design's load test (k6), for Locust: ramp to 200 users, a second of thought after each request.

Locust is no part of PinkSync's requirements: `.venv/bin/pip install locust`, start the gateway (`make run`), then

    .venv/bin/locust -f benchmarks/locustfile.py --headless --host http://127.0.0.1:7071

It takes 16 minutes, as the original does; PINKSYNC_LOAD_SPEED=16 makes it one. The users share 20 partners' keys,
made at the start with the admin key of .devstack/credentials.json (DEVSTACK_DIR chooses another folder).
Exit code 1 when a threshold is crossed: p95 < 500 ms, errors < 5 %.
"""

import json
import os
from itertools import cycle
from pathlib import Path

import httpx
from locust import (  # pyright: ignore[reportMissingImports] - installed by hand, see above
    HttpUser,
    LoadTestShape,
    constant,
    events,
    task,
)

PARTNERS = 20
HIGHEST_LIMIT = 1_000_000
P95_MS, MOST_ERRORS = 500, 0.05
SPEED = float(os.environ.get("PINKSYNC_LOAD_SPEED", "1"))
STAGES = ((120, 100), (300, 100), (120, 200), (300, 200), (120, 0))
"""Seconds, and the users at their end."""

keys: list[str] = []
turns = cycle(range(PARTNERS))


class Ramp(LoadTestShape):
    def tick(self) -> tuple[int, float] | None:
        """The users wanted now, and how many may start a second."""
        passed, users = self.get_run_time() * SPEED, 0
        for seconds, target in STAGES:
            if passed < seconds:
                return max(1, round(users + (target - users) * passed / seconds)), 200
            passed, users = passed - seconds, target
        return None


class PartnerUser(HttpUser):
    wait_time = constant(1)

    def on_start(self) -> None:
        self.headers = {"Authorization": f"Bearer {keys[next(turns)]}"}

    @task
    def test_the_key(self) -> None:
        self.client.get("/api/test", headers=self.headers)


@events.test_start.add_listener
def make_keys(environment, **_: object) -> None:
    folder = Path(os.environ.get("DEVSTACK_DIR") or ".devstack")
    admin = json.loads((folder / "credentials.json").read_text())["admin_api_key"]
    body = {"type": "vendor", "auth_method": "api_key", "rate_limit_per_minute": HIGHEST_LIMIT}
    headers = {"Authorization": f"Bearer {admin}"}
    with httpx.Client(base_url=environment.host, headers=headers, trust_env=False) as api:
        for number in range(PARTNERS):
            made = api.post("/api/partners/connect", json={"name": f"Load {number}", **body})
            keys.append(made.raise_for_status().json()["api_key"])


@events.quitting.add_listener
def judge(environment, **_: object) -> None:
    total = environment.stats.total
    slow = (total.get_response_time_percentile(0.95) or 0) >= P95_MS
    environment.process_exit_code = 1 if slow or total.fail_ratio >= MOST_ERRORS else 0
