"""Secrets at rest, as the rotation of their keys sees them: whatever table they are in."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedValue:
    place: str
    """Where the row is, to this store and in this transaction only."""
    owner: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SealedUnder:
    """One field of the store, and a key that seals values of it."""

    field: str
    kid: str
