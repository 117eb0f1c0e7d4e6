"""The example partner of a test's own, from behind the gateway's back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests import services
from tests.services import Service


@dataclass(frozen=True, slots=True)
class Shop:
    service: Service
    client: httpx.Client = field(repr=False)

    @property
    def endpoint(self) -> str:
        return f"{self.service.url}/api"

    @property
    def credentials(self) -> Mapping[str, str]:
        return {"api_key": self.service.secret}

    @property
    def key(self) -> Mapping[str, str]:
        return {"X-API-Key": self.service.secret}

    def begins_with(self, orders: int) -> None:
        """So many orders, all new; nothing wrong, nothing asked yet."""
        self.client.put("/_devstack/seed", json={"orders": orders}).raise_for_status()
        self.behaves()

    def misbehaves(self, **fault: Any) -> None:
        self.client.put("/_devstack/faults", json=fault).raise_for_status()

    def behaves(self) -> None:
        self.client.delete("/_devstack/faults").raise_for_status()
        self.client.delete("/_devstack/requests").raise_for_status()

    def touches(self, *numbers: int) -> None:
        self.client.put("/_devstack/touch", json={"resource": "orders", "ids": numbers}).raise_for_status()

    def removes(self, *numbers: int) -> None:
        for number in numbers:
            self.client.delete(f"/api/orders/{number}", headers=self.key).raise_for_status()

    def asked(self) -> list[dict[str, Any]]:
        """What came to its API since it last began to behave, oldest first."""
        return self.client.get("/_devstack/requests").raise_for_status().json()["requests"]


@contextmanager
def new_shop(folder: Path) -> Iterator[Shop]:
    with services.start_partner(folder) as service, httpx.Client(base_url=service.url, trust_env=False) as client:
        yield Shop(service, client)
