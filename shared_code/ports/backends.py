"""What lies behind the gateway: the business backend, the partners' own APIs, and what shields them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A request to be passed on. `path` is relative to the receiver's base, already percent-encoded."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What came back, whatever its status. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Backend(Protocol):
    """The business backend. Raises BackendUnavailable; a status it answered is never an exception."""

    async def forward(self, request: Forward) -> Returned: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class PartnerApi(Protocol):
    """Partners' own APIs, behind the egress guard: the least trusted place that PinkSync calls.

    Raises EgressDenied for an address that must not be called, UpstreamFailed for an answer that is too
    large, encoded or a redirect, UpstreamTimeout and UpstreamUnreachable.
    """

    async def call(self, url: str, request: Forward) -> Returned: ...
    async def close(self) -> None: ...


class Circuit(Protocol):
    """Keeps calls away from a dependency that fails, in all processes at once."""

    async def closed(self, name: str) -> bool:
        """May it be called? While it is open, one caller a second is let through as a probe."""
        ...

    async def report(self, name: str, *, ok: bool) -> None: ...
    async def tripped(self) -> Collection[str]:
        """Those that opened within the hour and have not closed since."""
        ...


class Answers(Protocol):
    """Answers of the backend that may be given again. They are found by AccessCache.look."""

    async def keep(self, tenant: str, resource: str, generation: str, name: str, answer: bytes, seconds: int) -> None:
        """Void at once if the resource's generation has changed since it was looked up."""
        ...

    async def drop(self, tenant: str, resource: str) -> None:
        """Nothing kept of this tenant's resource is found again."""
        ...


class Strikes(Protocol):
    """Failed proofs per address, for a minute: what they cost in bcrypt is bounded."""

    async def count(self, address: str) -> int: ...
    async def add(self, address: str) -> None: ...


class KeyUse(Protocol):
    """When each key was last used, until it is written to the store."""

    async def take(self, most: int) -> Mapping[str, datetime]:
        """The key ids used since they were last taken, at most so many; they are forgotten here."""
        ...
