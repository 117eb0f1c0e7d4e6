"""The settings of this process, with its secrets; read again and again, so that a rotated one is taken up.

A key that is new in the key ring opens from the moment it is read, and seals only later: every process must know
it by then, or what one has sealed another could not open.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared_code import errors
from shared_code.ports import Clock, Secret, Secrets
from shared_code.settings import SECRETS, Settings, SettingsError, load

LOOK_SECONDS = 60.0

logger = logging.getLogger("pinksync.configuration")


@dataclass(frozen=True, slots=True)
class Configuration:
    plain: Mapping[str, str] = field(repr=False)
    secrets: Secrets
    now: Clock
    refresh: timedelta
    """How long another process may still work with what it has read."""

    async def read(self) -> Settings:
        """Raises SettingsError, naming every fault."""
        found = await self._secrets()
        values = {name: secret.value for name, secret in found.items() if secret}
        settings = load({**self.plain, **values})
        return replace(settings, token_keyring=self._ring(settings.token_keyring, found["TOKEN_KEYRING"]))

    async def keep(self, take: Callable[[Settings], None]) -> None:
        """Hands over the settings every minute, for ever. What cannot be read, or is bad, leaves them as they were."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self.refresh.total_seconds()))
            try:
                take(await self.read())
            except SettingsError as error:
                logger.error("the settings stay as they were: %s", error)
            except Exception as error:
                logger.error("the settings stay as they were (%s)", type(error).__name__)

    async def _secrets(self) -> Mapping[str, Secret | None]:
        asked = [self.secrets.get(name.lower().replace("_", "-")) for name in SECRETS]
        found = await asyncio.gather(*asked, return_exceptions=True)
        failed = [name for name, secret in zip(SECRETS, found, strict=True) if isinstance(secret, errors.Unavailable)]
        if failed:
            raise SettingsError([f"{name} cannot be read from the vault" for name in failed])
        return dict(zip(SECRETS, map(raised, found), strict=True))

    def _ring(self, ring: Mapping[str, bytes], secret: Secret | None) -> Mapping[str, bytes]:
        """The newest key second, while a process may be there that has not read it yet."""
        changed_at = secret.changed_at if secret else None
        if changed_at is None or len(ring) == 1 or self.now() >= changed_at + 2 * self.refresh:
            return ring
        newest, second, *older = ring
        return {kid: ring[kid] for kid in (second, newest, *older)}


def raised(found: Secret | BaseException | None) -> Secret | None:
    if isinstance(found, BaseException):
        raise found
    return found
