"""The gateway as its users meet it: one Functions host over real servers, and its partners with their keys."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from uuid import uuid4

import httpx

from devstack.settings import EVERY_SECOND
from shared_code.gateway import Gateway
from shared_code.settings import load
from tests import services
from tests.services import eventually, web
from tests.shared_servers import Address, ask, new_database

type Headers = dict[str, str]
type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stack:
    host: services.Service
    env: Mapping[str, str] = field(repr=False)
    admin: Headers = field(repr=False)
    partner_url: str

    @property
    def url(self) -> str:
        return self.host.url


@contextmanager
def running_stack(folder: Path, svix: Address | services.Service, partner: Address, **changes: str) -> Iterator[Stack]:
    """A host of its own, with a database and a Redis of its own, and its first admin."""
    with ExitStack() as closing:
        database_url = closing.enter_context(new_database())
        xano = ask("xano")
        wired = {
            "SVIX_URL": svix.url,
            "SVIX_TOKEN": svix.secret,
            "XANO_API_URL": xano.url,
            "XANO_API_KEY": xano.secret,
            "ALLOW_LOOPBACK_EGRESS": "true",
            "OUTBOX_SCHEDULE": EVERY_SECOND,
            "RECONCILE_SCHEDULE": EVERY_SECOND,
            "ADDRESS_RATE_LIMIT_PER_MINUTE": "1000000",
            "AUTH_FAILURES_PER_MINUTE": "1000000",
            "WEBHOOK_MAX_ATTEMPTS": "4",
            "AUDIT_STORAGE_CONNECTION_STRING": "",
        }
        env = services.app_environment(database_url, ask("redis").url, **(wired | changes))
        admin = first_admin(env)
        host = closing.enter_context(services.start_host(folder, env))
        yield Stack(host=host, env=env, admin={"Authorization": f"Bearer {admin}"}, partner_url=partner.url)


def first_admin(env: Mapping[str, str]) -> str:
    """The API key of a new installation's first admin. Made in this process: a start of Python takes long."""

    async def made() -> str:
        gateway = Gateway(load(env))
        try:
            admin = await gateway.bootstrap.first_admin("admin@pinksync.local", token_urlsafe(24), None)
        finally:
            await gateway.close()
        assert admin.api_key, "there is an admin already"
        return admin.api_key

    return asyncio.run(made())


@dataclass(frozen=True, slots=True)
class Connected:
    """A partner just connected: the whole answer, and what most tests want of it."""

    answer: Json = field(repr=False)

    @property
    def id(self) -> str:
        return self.answer["partner_id"]

    @property
    def path(self) -> str:
        return f"/api/partners/{self.id}"

    @property
    def api_key(self) -> str:
        return self.answer["api_key"]

    @property
    def key_id(self) -> str:
        return self.answer["key_id"]

    @property
    def key(self) -> Headers:
        return {"Authorization": f"Bearer {self.api_key}"}


type Connect = Callable[..., Connected]


def connecting(api: httpx.Client, admin: Headers) -> Connect:
    def connect(**overrides: Any) -> Connected:
        """A new partner; a limit that no test meets by chance."""
        body = {"name": "Corner Shop", "type": "vendor", "auth_method": "api_key", "rate_limit_per_minute": 100_000}
        answer = api.post("/api/partners/connect", json=body | overrides, headers=admin)
        assert answer.status_code == 201, answer.text
        return Connected(answer.json())

    return connect


@dataclass(frozen=True, slots=True)
class Receiver:
    """One webhook receiver of the example partner."""

    partner_url: str
    name: str = field(default_factory=lambda: uuid4().hex)

    @property
    def url(self) -> str:
        return f"{self.partner_url}/webhooks/{self.name}"

    def tell(self, **settings: Any) -> None:
        web.put(self.url, json=settings).raise_for_status()

    def received(self) -> list[Json]:
        return web.get(self.url).raise_for_status().json()["received"]

    def verified(self) -> list[Json]:
        return [each for each in self.received() if each["verified"]]

    def event_ids(self) -> list[str]:
        """What came, by Svix's header; our event id is Svix's id for it too, which the body alone does not tell."""
        return [each["headers"]["svix-id"] for each in self.received()]

    def wait_for(self, count: int, seconds: float = 30) -> list[Json]:
        def enough() -> list[Json] | None:
            found = self.received()
            return found if len(found) >= count else None

        return eventually(enough, seconds) or []


def register(api: httpx.Client, key: Headers, receiver: Receiver, *events: str) -> Json:
    """The receiver as an endpoint of the key's partner; it learns the secret."""
    body = {"url": receiver.url, "events": list(events) or ["order.created"]}
    answer = api.post("/api/webhooks/register", json=body, headers=key)
    assert answer.status_code == 201, answer.text
    receiver.tell(secret=answer.json()["secret"])
    return answer.json()


def publish(api: httpx.Client, key: Headers, event_type: str = "order.created", **more: Any) -> str:
    body = {"event_type": event_type, "payload": {"order_id": "ord_1"}} | more
    answer = api.post("/api/events", json=body, headers=key)
    assert answer.status_code == 202, answer.text
    return answer.json()["event_id"]


def proxy(partner: Connected, path: str = "orders") -> str:
    """The way to the partner's own API."""
    return f"/api/proxy/{partner.id}/{path}"


def as_it_is(url: str, target: str, key: Headers) -> int:
    """The status of a GET whose target goes out byte by byte, as no library would send it."""
    head = "".join(f"{name}: {value}\r\n" for name, value in key.items())
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\n{head}Connection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1"))
        return int(connection.makefile("rb").readline().split()[1])


def steadily(play: Callable[[], Sequence[httpx.Response]]) -> Sequence[httpx.Response]:
    """What happened while Redis kept up. On a busy machine it may not answer within its tenth of a second, and
    the gateway then counts on its own for two seconds; that is its promise too, but another one.
    """
    for _ in range(5):
        answers = play()
        if not any("x-pinksync-degraded" in answer.headers or answer.status_code == 503 for answer in answers):
            return answers
        time.sleep(2.1)  # until Redis is asked again
    raise AssertionError("Redis never kept up")


def refused(answer: httpx.Response, status: int, code: str | None = None) -> Json:
    """The problem document of an answer that must be this refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert code is None or problem["code"] == code, problem
    return problem


def pointers(problem: Json) -> list[str]:
    return [each["pointer"] for each in problem["errors"]]
