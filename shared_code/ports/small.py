"""Ports of one call."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shared_code.model import Health, Json

type Clock = Callable[[], datetime]
type Probe = Callable[[], Awaitable[Health]]
type SignatureCheck = Callable[[str, Mapping[str, str], bytes, datetime], str | None]
"""(secret, headers, raw body, now) → the message's id if the secret signed this, else None."""
type UrlRule = Callable[[str], None]
"""Raises UrlNotAllowed for a URL that PinkSync must never call."""
type SchemaCheck = Callable[[Json, object], Sequence[tuple[str, str]]]
"""(pointer, message) of each way in which a value breaks a JSON schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    value: str = field(repr=False)
    changed_at: datetime | None = None
    """When it got this value, where that is known."""


class Secrets(Protocol):
    """Secrets by name, such as `key-pepper`."""

    async def get(self, name: str) -> Secret | None:
        """Raises Unavailable if nobody can say, and nobody could before."""
        ...

    async def close(self) -> None: ...
