"""A gateway over a backend that can be told to fail, and what stands behind its back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import redis

from devstack.settings import EVERY_MINUTE
from shared_code.services.backend_answers import Kept
from tests.functions.stack import Connect, Connected, Headers, Json, connecting, running_stack
from tests.services import Service, eventually
from tests.shared_servers import ask

ORDERS, INVENTORY = "/api/v1/orders", "/api/v1/inventory"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running host, its first admin, and its Redis."""

    api: httpx.Client = field(repr=False)
    admin: Headers = field(repr=False)
    redis: Any = field(repr=False)
    """redis.Redis; its types are those of two clients at once."""

    @property
    def connect(self) -> Connect:
        return connecting(self.api, self.admin)

    def settle(self) -> None:
        """A host that is starting, or starved, may have taken Redis for dead; that is over in two seconds."""
        eventually(lambda: "x-pinksync-degraded" not in self.api.get("/api/test", headers=self.admin).headers)

    def age_kept_answers(self) -> None:
        """None of them is fresh any more, as if their time had passed."""
        for name in self.redis.keys("answer:*"):
            old = Kept.from_bytes(self.redis.get(name))
            self.redis.set(name, replace(old, fresh_until=0).to_bytes(), keepttl=True)

    def forget_circuits(self, part: str = "*") -> None:
        for name in self.redis.keys(f"circuit:*:{part}"):
            self.redis.delete(name)


@dataclass(frozen=True, slots=True)
class Xano:
    """The stand-in, from behind the gateway's back."""

    service: Service
    client: httpx.Client = field(repr=False)

    @property
    def control(self) -> str:
        return f"http://{urlsplit(self.service.url).netloc}/_devstack"

    def fails(self, **fault: Any) -> None:
        self.client.put(f"{self.control}/faults", json=fault).raise_for_status()

    def is_well(self) -> None:
        self.client.delete(f"{self.control}/faults").raise_for_status()

    def asked(self, partner: Connected) -> list[Json]:
        """What the gateway asked for this partner, oldest first."""
        every = self.client.get(f"{self.control}/requests").raise_for_status().json()["requests"]
        return [each for each in every if each["headers"].get("x-partner-id") == partner.id and gateways(each)]

    def methods(self, partner: Connected) -> list[str]:
        return [each["method"] for each in self.asked(partner)]

    def add(self, partner: Connected, **row: Any) -> Json:
        return self.do("POST", partner, json=row)

    def rows(self, partner: Connected) -> list[Json]:
        return self.do("GET", partner)

    def do(self, method: str, partner: Connected, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.service.secret}", "X-Partner-Id": partner.id}
        answered = self.client.request(method, f"{self.service.url}/orders", headers=headers, **more)
        return answered.raise_for_status().json()


def gateways(request: Json) -> bool:
    return request["headers"]["user-agent"] == "PinkSync/1"


@dataclass(frozen=True, slots=True)
class Misled:
    """A partner of the gateway whose backend is the liar."""

    gateway: Gateway
    partner: Connected

    def read(self, path: str = ORDERS, **headers: str) -> httpx.Response:
        return self.gateway.api.get(path, headers=self.partner.key | headers)

    def kept(self) -> list[bytes]:
        return self.gateway.redis.keys(f"answer:{self.partner.id}:*")

    def ttl(self) -> int:
        """Of its one kept answer."""
        [name] = self.kept()
        return self.gateway.redis.ttl(name)


@contextmanager
def new_gateway(folder: Path, **wired: str) -> Iterator[Gateway]:
    quiet = {"OUTBOX_SCHEDULE": EVERY_MINUTE, "RECONCILE_SCHEDULE": EVERY_MINUTE, "RESOURCE_CACHE_SECONDS": "600"}
    with (
        running_stack(folder, ask("svix"), ask("partner"), **quiet, **wired) as stack,
        redis.Redis.from_url(stack.env["REDIS_URL"]) as client,
        web_client(stack.url) as api,
    ):
        yield Gateway(api, stack.admin, client)


def web_client(url: str = "") -> httpx.Client:
    return httpx.Client(base_url=url, timeout=20, trust_env=False)


def cache_uses(api: httpx.Client, partner: Connected, *paths: str) -> list[str]:
    return [api.get(path, headers=partner.key).headers["x-cache"] for path in paths]
