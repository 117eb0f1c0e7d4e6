"""Keys: proving them, remembering them, and sealing secrets."""

from collections.abc import Sequence
from typing import Protocol

from shared_code.model import Grant, LimitState, carrier


class KeyHasher(Protocol):
    """Slow by purpose, and bounded: raises Overloaded when too many wait."""

    async def hash(self, secret: str) -> str: ...
    async def matches(self, secret: str, hashed: str | None) -> bool:
        """None, an unknown key, takes as long as a known one and is False."""
        ...

    def proof(self, secret: str) -> str:
        """A name under which "this secret was right" may be remembered; it gives nothing away."""
        ...


@carrier
class Ask:
    """What a request wants to know of the cache besides its key, all in the one round trip."""

    route: str = ""
    route_limit: int = 0
    """Requests a minute that one tenant may make to this route; 0: only its own limit holds."""
    resource: str = ""
    answer: str = ""
    """The name of the kept answer that would do, if this is a cached read."""


ONLY_ACCESS = Ask()


@carrier
class Look:
    """What the cache knows of a presented key, learned in one round trip."""

    proven: bool = False
    grant: Grant | None = None
    limit: LimitState | None = None
    """Set when there was a grant: this request is already counted."""
    refusals: int = 0
    """How often this tenant was refused for its limit in the last hour, if it is refused now."""
    generation: str = ""
    """Of the resource asked for; hand it back to Answers.keep."""
    answer: bytes | None = None
    degraded: bool = False
    """The cache is down; limits are counted in this process alone."""


class AccessCache(Protocol):
    async def look(self, key_id: str, proof: str, ask: Ask = ONLY_ACCESS) -> Look: ...
    async def remember(self, key_id: str, proof: str, grant: Grant, epoch: str, ask: Ask = ONLY_ACCESS) -> Look:
        """Keep the proof and the grant, count this request, and answer what `look` would have."""
        ...

    async def epoch(self, tenant: str) -> str:
        """Read it before the rows, and hand it back to `remember`: what changed since is then not kept."""
        ...

    async def forget(self, tenant: str) -> None:
        """Nothing remembered of this tenant's grants is used again, in any process."""
        ...

    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class AddressLimit(Protocol):
    """Counts what comes without a proven key, per address, in this process alone: it costs no I/O."""

    def charge(self, address: str) -> LimitState: ...


class Cipher(Protocol):
    """Encrypts secrets at rest, each bound to its owner and field: moved elsewhere it does not decrypt."""

    @property
    def kids(self) -> Sequence[str]:
        """The ids of the keys it has, the one that seals first."""
        ...

    def seal(self, plain: bytes, owner: str, field: str) -> str: ...
    def open(self, sealed: str, owner: str, field: str) -> bytes: ...
