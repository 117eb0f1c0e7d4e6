"""A Key Vault and an identity endpoint for tests, with their switches."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from devstack import parts
from tests import services


@dataclass(frozen=True, slots=True)
class KeyVault:
    service: services.Service
    folder: Path
    header: str = field(repr=False)

    @property
    def url(self) -> str:
        return (self.folder / "vault_url").read_text()

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """The certificate's, for another server that stands beside this one."""
        return self.folder / "key.pem"

    @property
    def identity(self) -> Mapping[str, str]:
        """What App Service puts into an app's environment."""
        return {"IDENTITY_ENDPOINT": f"{self.service.url}/identity/token", "IDENTITY_HEADER": self.header}

    @property
    def environment(self) -> dict[str, str]:
        """What makes an app take its secrets from here."""
        return {"KEY_VAULT_URI": self.url, "SSL_CERT_FILE": str(self.certificate), **self.identity}

    def put(self, name: str, value: str, **more: Any) -> None:
        self._tell("PUT", f"secrets/{name}", {"value": value, **more})

    def drop(self, name: str) -> None:
        self._tell("DELETE", f"secrets/{name}")

    def fail(self, part: str, status: int, **more: Any) -> None:
        self._tell("PUT", "faults", {"part": part, "status": status, **more})

    def heal(self) -> None:
        self._tell("DELETE", "faults")

    def token(self, resource: str) -> str:
        """The token that the identity endpoint gives for this audience now."""
        asked = {"api-version": "2019-08-01", "resource": resource}
        answer = httpx.get(self.identity["IDENTITY_ENDPOINT"], params=asked, headers={"X-IDENTITY-HEADER": self.header})
        return answer.raise_for_status().json()["access_token"]

    def renew_tokens(self) -> None:
        self._tell("DELETE", "tokens")

    def known(self) -> dict[str, Any]:
        return httpx.get(f"{self.service.url}/_devstack/known").raise_for_status().json()

    def asked(self, name: str) -> int:
        return self.known()["asked"].get(name, 0)

    @property
    def written(self) -> dict[str, int]:
        """How many versions of each secret its clients wrote."""
        return self.known()["written"]

    def _tell(self, method: str, what: str, body: object = None) -> None:
        httpx.request(method, f"{self.service.url}/_devstack/{what}", json=body).raise_for_status()


@contextmanager
def running_key_vault(folder: Path) -> Iterator[KeyVault]:
    seat, header = services.new_seat(folder, "key_vault"), secrets.token_urlsafe()
    part = parts.key_vault(seat, header)
    with services.Service(part, parts.local_url(seat.port)) as service:
        yield KeyVault(service, seat.data, header)
