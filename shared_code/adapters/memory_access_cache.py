"""What is known of presented keys, and their limits, in this process's memory. Bounded: the oldest is dropped.

A limit is a GCRA bucket per tenant: as many tokens as the limit per minute, one more every 60/limit seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared_code import errors
from shared_code.model import Grant, LimitState
from shared_code.ports import Ask, Clock, Look
from shared_code.ports.access import ONLY_ACCESS

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

    async def look(self, key_id: str, proof: str, ask: Ask = ONLY_ACCESS) -> Look:
        if self.down:
            return Look(degraded=True)
        now = self.now()
        if self._proofs.get(proof, now) <= now:
            return Look()
        state = self._states.get(key_id)
        if state is None or state.until <= now or state.epoch != self._epoch(state.grant.tenant):
            return Look(proven=True)
        return self._admitted(state.grant, ask, now)

    async def remember(self, key_id: str, proof: str, grant: Grant, epoch: str, ask: Ask = ONLY_ACCESS) -> Look:
        now = self.now()
        if not self.down:
            keep(self._proofs, proof, now + self.proof_lifetime)
            keep(self._states, key_id, State(grant, epoch, now + self.state_lifetime))
        return self._admitted(grant, ask, now)

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

    def _admitted(self, grant: Grant, ask: Ask, now: datetime) -> Look:
        limits = {grant.bucket: grant.limit_per_minute}
        if ask.route and grant.partner_id:
            limits[f"{grant.bucket}:{ask.route}"] = ask.route_limit
        return Look(proven=True, grant=grant, limit=self._charge(limits, nanoseconds(now)))

    def _charge(self, limits: Mapping[str, int], now: int) -> LimitState:
        """A token of each bucket, or of none: what one refuses costs nothing in the others."""
        charged = {name: charge(self._due.get(name, 0), now, limit) for name, limit in limits.items()}
        for _, state in charged.values():
            if state.exceeded:
                return state
        for name, (due, _) in charged.items():
            keep(self._due, name, due)
        return min((state for _, state in charged.values()), key=lambda state: state.remaining)


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
