"""Where synced records land in Xano: two endpoints of the business group that ship as files (infra/xano).

A refusal of the batch is told from a failure of Xano by its words before its status (facts/xano.md 2.5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from shared_code import errors
from shared_code.model import ErrorClass, Json
from shared_code.ports import Backend, Forward, RecordsRefused, Returned, Shelf, StaleFence, SyncFailed, SyncWait

LONGEST_REASON = 300
STALE = "stale_fence"
WAIT_SECONDS = 20
"""Xano counts requests in windows of so long, and says no better (facts/xano.md 2.10)."""


@dataclass(frozen=True, slots=True)
class XanoLanding:
    backend: Backend

    async def upsert(self, shelf: Shelf, records: Sequence[Json]) -> None:
        await self._post(shelf, "bulk_upsert", {"items": records, "fence": shelf.fence})

    async def delete(self, shelf: Shelf, keys: Sequence[str]) -> None:
        await self._post(shelf, "bulk_delete", {"external_ids": keys, "fence": shelf.fence})

    async def _post(self, shelf: Shelf, name: str, body: Mapping[str, object]) -> None:
        request = Forward(
            method="POST",
            path=f"{shelf.resource}/{name}",
            headers={
                "Content-Type": "application/json",
                "X-Partner-Id": str(shelf.partner_id),
                "X-Request-Id": shelf.request_id,
            },
            body=orjson.dumps(body),
        )
        returned = await self.backend.forward(request)
        if returned.status != 200:
            raise failure(returned, shelf)


def failure(returned: Returned, shelf: Shelf) -> Exception:
    code, message = words(returned)
    if message == STALE:
        return StaleFence()
    if message.startswith("Duplicate record detected") or (returned.status == 400 and code != ""):
        return RecordsRefused(f"The backend refuses it: {message}"[:LONGEST_REASON])
    if returned.status == 429:
        return SyncWait(WAIT_SECONDS)
    if returned.status in (401, 403):
        return SyncFailed(ErrorClass.SYSTEM, "The business backend refuses the gateway's own key.")
    if returned.status == 404:
        return SyncFailed(ErrorClass.CONFIG, f"The business backend has no bulk endpoints for `{shelf.resource}`.")
    return errors.BackendUnavailable()


def words(returned: Returned) -> tuple[str, str]:
    try:
        body = orjson.loads(returned.body)
    except orjson.JSONDecodeError:
        return "", ""
    return (str(body.get("code", "")), str(body.get("message", ""))) if isinstance(body, dict) else ("", "")
