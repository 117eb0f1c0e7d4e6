"""A limit per address in this process's memory, for what has proven no key. Bounded: the oldest is dropped."""

import time
from dataclasses import dataclass, field

from shared_code.adapters.memory_access_cache import charge, keep
from shared_code.model import LimitState


@dataclass(eq=False, slots=True)
class MemoryAddressLimit:
    per_minute: int
    _due: dict[str, int] = field(default_factory=dict[str, int])

    def charge(self, address: str) -> LimitState:
        due, state = charge(self._due.get(address, 0), time.time_ns(), self.per_minute)
        keep(self._due, address, due)
        return state
