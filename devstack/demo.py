"""The main job, once, against the live gateway, told as a short transcript (contract §1).

A partner is connected, its key is tried, an event is published, the signed webhook arrives and is verified,
and the delivery log is read back. Everything goes over HTTP, as a partner would; any surprise ends it with exit code 1.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

PATIENCE = 20.0


class Surprise(Exception):
    """The gateway did not do what the transcript says it does."""


@dataclass(frozen=True, slots=True)
class Demo:
    gateway: httpx.Client
    partner_url: str
    admin_key: str

    def run(self) -> None:
        receiver = f"{self.partner_url}/webhooks/demo-{uuid4().hex[:8]}"
        partner = self.connect(receiver)
        key = {"Authorization": f"Bearer {partner['api_key']}"}
        httpx.put(receiver, json={"secret": partner["webhook_secret"]}).raise_for_status()
        self.try_key(key)
        event_id = self.publish(key)
        self.await_webhook(receiver)
        self.read_log(key, event_id)

    def connect(self, receiver: str) -> Mapping[str, Any]:
        wanted = {
            "name": "Acme Corp",
            "type": "vendor",
            "auth_method": "api_key",
            "api_endpoint": f"{self.partner_url}/api",
            "webhook_url": receiver,
            "webhook_events": ["order.created", "inventory.updated"],
        }
        answer = self.call("POST", "/api/partners/connect", {"Authorization": f"Bearer {self.admin_key}"}, wanted, 201)
        tell("partner onboarded", f"{answer['name']} is {answer['status']}, id {answer['partner_id']}")
        tell("", f"API key {answer['key_id']}… and webhook secret whsec_… shown this once")
        return answer

    def try_key(self, key: Mapping[str, str]) -> None:
        answer = self.call("GET", "/api/test", key)
        limit = answer["rate_limit"]
        tell("API called", f"GET /api/test → 200, {limit['remaining']} of {limit['limit']} calls left this minute")

    def publish(self, key: Mapping[str, str]) -> str:
        event = {"event_type": "order.created", "payload": {"order_id": "ord_1001", "total": 42.5, "currency": "USD"}}
        answer = self.call("POST", "/api/events", key, event, 202)
        tell("event published", f"order.created → 202 {answer['status']}, id {answer['event_id']}")
        return answer["event_id"]

    def await_webhook(self, receiver: str) -> None:
        began = time.monotonic()
        arrived = until(lambda: httpx.get(receiver).json()["received"], "the webhook to arrive")[0]
        if arrived["verified"] is not True:
            raise Surprise("the webhook arrived, but its signature does not verify")
        took = round((time.monotonic() - began) * 1000)
        tell("webhook received", f"signature verified, svix-id {arrived['headers']['svix-id']}, {took} ms later")
        tell("", f"body {arrived['body']}")

    def read_log(self, key: Mapping[str, str], event_id: str) -> None:
        def delivered() -> Mapping[str, Any] | None:
            found = self.call("GET", f"/api/webhooks/deliveries?event_id={event_id}&status=delivered", key)
            return found["deliveries"][0] if found["deliveries"] else None

        row = until(delivered, "the delivery log to say so")
        tell("delivery log", f"{row['status']}, response {row['response_code']}, attempt {row['attempt_count']}")

    def call(
        self, method: str, path: str, headers: Mapping[str, str], body: object = None, expected: int = 200
    ) -> Mapping[str, Any]:
        answer = self.gateway.request(method, path, headers=headers, json=body)
        if answer.status_code != expected:
            raise Surprise(f"{method} {path} answered {answer.status_code}, not {expected}: {answer.text[:300]}")
        return answer.json()


def until[T](look: Callable[[], T | None], what: str) -> T:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise Surprise(f"waited {PATIENCE:.0f} s for {what}")


def tell(what: str, more: str) -> None:
    print(f"  {what:<18} {more}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devstack.demo", description=__doc__)
    parser.add_argument("--credentials", type=Path, default=Path(".devstack/credentials.json"), metavar="FILE")
    try:
        told = json.loads(parser.parse_args().credentials.read_text())
        with httpx.Client(base_url=told["base_url"], timeout=PATIENCE) as gateway:
            Demo(gateway, told["partner_url"], told["admin_api_key"]).run()
    except (OSError, httpx.HTTPError, Surprise) as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
