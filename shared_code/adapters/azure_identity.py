"""The gateway's own Entra identity, and the tokens it gets: one credential for everything Azure in this process.

`DefaultAzureCredential`: in Azure the app's managed identity, on a developer's machine whoever signed in there.
azure-identity keeps a token until shortly before it ends, so asking each time costs nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from shared_code import errors

if TYPE_CHECKING:
    from azure.identity.aio import DefaultAzureCredential

POSTGRES = "https://ossrdbms-aad.database.windows.net/.default"
REDIS = "https://redis.azure.com/.default"
OVERALL_SECONDS = 8.0
POLICY = {"connection_timeout": 3, "read_timeout": 5, "retry_total": 2, "retry_backoff_factor": 0.4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    text: str = field(repr=False)
    expires_at: float
    """Seconds since 1970."""


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Azure's failures as one of ours, within OVERALL_SECONDS. Never their text: it can quote an answer."""
    core = await asyncio.to_thread(import_module, "azure.core.exceptions")
    try:
        async with asyncio.timeout(OVERALL_SECONDS):
            yield
    except (core.AzureError, TimeoutError, ValueError) as error:  # ValueError: a challenge or setting it refuses
        raise errors.Unavailable() from error


@dataclass(eq=False)
class AzureIdentity:
    client_id: str | None = None
    """Of a user-assigned identity; None is the system-assigned one."""
    _credential: "DefaultAzureCredential | None" = None

    async def credential(self) -> "DefaultAzureCredential":
        """For an SDK's client. It is closed here, with the gateway."""
        if self._credential is None:
            identity = await asyncio.to_thread(import_module, "azure.identity.aio")  # heavy; not needed everywhere
            made: DefaultAzureCredential = identity.DefaultAzureCredential(
                managed_identity_client_id=self.client_id, **POLICY
            )
            self._credential = self._credential or made
        return self._credential

    async def token(self, scope: str) -> Token:
        """Raises Unavailable."""
        async with translated():
            got = await (await self.credential()).get_token(scope)
        return Token(text=got.token, expires_at=got.expires_on)

    async def close(self) -> None:
        if self._credential:
            await self._credential.close()
            self._credential = None
