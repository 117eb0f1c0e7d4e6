"""Records into the business backend, in batches; those that it refuses are told apart from the rest."""

from collections.abc import Sequence

from shared_code.ports import Landing, RecordsRefused, Shelf
from shared_code.services.sync_records import Bad, Good

BATCH = 1000
"""Records in one call."""


async def land(landing: Landing, shelf: Shelf, records: Sequence[Good], most: int) -> Sequence[Bad]:
    """Those that are refused, found by halving. With more than `most` of them it gives up."""
    waiting = [records[start : start + BATCH] for start in range(0, len(records), BATCH)][::-1]
    refused: list[Bad] = []
    while waiting and len(refused) <= most:
        batch = waiting.pop()
        try:
            await landing.upsert(shelf, [each.body for each in batch])
        except RecordsRefused as refusal:
            half = len(batch) // 2
            if half:
                waiting += [batch[half:], batch[:half]]
            else:
                refused.append(Bad(batch[0].key, str(refusal), batch[0].body))
    return refused


async def remove(landing: Landing, shelf: Shelf, keys: Sequence[str]) -> None:
    for start in range(0, len(keys), BATCH):
        await landing.delete(shelf, keys[start : start + BATCH])
