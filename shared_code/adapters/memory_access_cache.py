"""What is known of presented keys, and their limits, in this process's memory. Bounded: the oldest is dropped.

A limit is a GCRA bucket per tenant: as many tokens as the limit per minute, one more every 60/limit seconds.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared_code import errors
from shared_code.model import Grant, LimitState
from shared_code.ports import Clock, Look

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000_000
"""Buckets count in whole nanoseconds: sums of 60/limit stay exact."""
CAPACITY = 5000


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class State:
    """A grant, as it was in that epoch of its tenant."""

    grant: Grant
    epoch: str
    until: datetime


@dataclass(slots=True, eq=False)
class MemoryAccessCache:
    now: Clock = utc_now
    state_lifetime: timedelta = timedelta(seconds=60)
    proof_lifetime: timedelta = timedelta(minutes=60)
    down: bool = False
    """Set it to see what a cache that is down looks like: nothing is known, limits are counted here."""
    _proofs: dict[str, datetime] = field(default_factory=dict[str, datetime])
    _states: dict[str, State] = field(default_factory=dict[str, State])
    _due: dict[str, int] = field(default_factory=dict[str, int])
    """When each tenant's bucket is full again."""
    _epochs: dict[str, int] = field(default_factory=dict[str, int])

    async def look(self, key_id: str, proof: str) -> Look:
        if self.down:
            return Look(degraded=True)
        now = self.now()
        if self._proofs.get(proof, now) <= now:
            return Look()
        state = self._states.get(key_id)
        if state is None or state.until <= now or state.epoch != self._epoch(state.grant.tenant):
            return Look(proven=True)
        return Look(proven=True, grant=state.grant, limit=self._charge(state.grant, now))

    async def remember(self, key_id: str, proof: str, grant: Grant, epoch: str) -> LimitState:
        now = self.now()
        if not self.down:
            keep(self._proofs, proof, now + self.proof_lifetime)
            keep(self._states, key_id, State(grant, epoch, now + self.state_lifetime))
        return self._charge(grant, now)

    async def epoch(self, tenant: str) -> str:
        return self._epoch(tenant)

    async def forget(self, tenant: str) -> None:
        self._epochs[tenant] = self._epochs.get(tenant, 0) + 1

    async def ping(self) -> None:
        if self.down:
            raise errors.Unavailable()

    async def close(self) -> None:
        """Nothing to close."""

    def _epoch(self, tenant: str) -> str:
        return str(self._epochs.get(tenant, ""))

    def _charge(self, grant: Grant, now: datetime) -> LimitState:
        due, state = charge(self._due.get(grant.tenant, 0), nanoseconds(now), grant.limit_per_minute)
        keep(self._due, grant.tenant, due)
        return state


def charge(due: int, now: int, limit: int) -> tuple[int, LimitState]:
    """Takes a token if there is one: when the bucket is full again, and what the caller is told."""
    step = 60 * SECOND // limit
    due = max(due, now)
    wait = due + step - limit * step - now
    if wait > 0:
        return due, LimitState(limit=limit, remaining=0, reset=seconds(due), retry_after=seconds(wait))
    due += step
    return due, LimitState(limit=limit, remaining=limit - -(-(due - now) // step), reset=seconds(due))


def seconds(span: int) -> int:
    """Rounded up: never promised too early."""
    return -(-span // SECOND)


def nanoseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1) * 1000


def keep[V](entries: dict[str, V], name: str, value: V) -> None:
    entries.pop(name, None)
    entries[name] = value
    if len(entries) > CAPACITY:
        del entries[next(iter(entries))]
