"""Secrets from Azure Key Vault, through its official async SDK (facts/security.md 2.4, 2.13).

What was read is kept for a while, and for longer when the vault then fails: a running gateway outlives an outage.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from shared_code import errors
from shared_code.adapters.azure_identity import POLICY, AzureIdentity, translated
from shared_code.ports import Secret

if TYPE_CHECKING:
    from azure.keyvault.secrets.aio import SecretClient

AGAIN_SECONDS = 60.0
"""How long a secret that could not be read again is good for."""

logger = logging.getLogger("pinksync.secrets")


@dataclass(frozen=True, slots=True)
class Kept:
    secret: Secret | None
    until: float


@dataclass(eq=False)
class KeyVaultSecrets:
    uri: str
    identity: AzureIdentity
    fresh_seconds: float
    clock: Callable[[], float] = time.monotonic
    _kept: dict[str, Kept] = field(default_factory=dict[str, Kept], repr=False)
    _client: "SecretClient | None" = None

    async def get(self, name: str) -> Secret | None:
        kept = self._kept.get(name)
        if kept and self.clock() < kept.until:
            return kept.secret
        try:
            found, good = await self._asked(name), self.fresh_seconds
        except errors.Unavailable as error:
            logger.warning("the Key Vault does not give %s (%s)", name, type(error.__cause__).__name__)
            if kept is None:
                raise
            found, good = kept.secret, min(AGAIN_SECONDS, self.fresh_seconds)
        self._kept[name] = Kept(found, self.clock() + good)
        return found

    async def close(self) -> None:
        if self._client:
            await self._client.close()
            self._client = None

    async def _asked(self, name: str) -> Secret | None:
        """None if the vault has none of this name."""
        missing = (await asyncio.to_thread(import_module, "azure.core.exceptions")).ResourceNotFoundError
        async with translated():
            client = await self._connected()
            try:
                found = await client.get_secret(name)
            except missing:
                return None
        return Secret(value=found.value or "", changed_at=found.properties.updated_on)

    async def _connected(self) -> "SecretClient":
        if self._client is None:
            vault = await asyncio.to_thread(import_module, "azure.keyvault.secrets.aio")  # heavy, as identity is
            credential = await self.identity.credential()
            made: SecretClient = vault.SecretClient(self.uri, credential, **POLICY)
            self._client = self._client or made
        return self._client
