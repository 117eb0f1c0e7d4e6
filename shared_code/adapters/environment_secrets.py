"""Secrets from the environment, `key-pepper` as KEY_PEPPER; and what it lacks, from what lies beyond."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared_code.ports import Secret, Secrets


@dataclass(frozen=True, slots=True)
class EnvironmentSecrets:
    variables: Mapping[str, str] = field(repr=False)
    beyond: Secrets | None = None

    async def get(self, name: str) -> Secret | None:
        value = self.variables.get(name.upper().replace("-", "_"), "").strip()
        if value:
            return Secret(value=value)
        return await self.beyond.get(name) if self.beyond else None

    async def close(self) -> None:
        if self.beyond:
            await self.beyond.close()
