"""What leaves in time: payloads and endpoints' answers are cleared in bounded batches; the rows stay."""

from dataclasses import dataclass
from datetime import timedelta

from shared_code.ports import Clock, Store

BATCH = 1000
MOST_BATCHES = 100
"""A run ends after so many; the next one goes on."""


@dataclass(frozen=True, slots=True)
class RetentionService:
    store: Store
    now: Clock
    payloads_kept: timedelta

    async def clear(self) -> int:
        """Answers how many payloads and answers were cleared."""
        before, total = self.now() - self.payloads_kept, 0
        for _ in range(MOST_BATCHES):
            async with self.store.transaction() as transaction:
                payloads = await transaction.events.clear(before, BATCH)
                answers = await transaction.deliveries.clear_answers(before, BATCH)
            total += payloads + answers
            if max(payloads, answers) < BATCH:
                break
        return total
