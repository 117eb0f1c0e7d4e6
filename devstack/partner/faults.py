"""Faults of the REST API that a test can switch on: a partner having a bad day."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from devstack.partner.records import Record

MIB = 1024 * 1024


class Fault(BaseModel):
    """What `PUT /_devstack/faults` takes. Each PUT replaces the one before; `times` counts the requests it hits."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    status: int | None = Field(default=None, ge=400, le=599)
    retry_after: int | str | None = None
    latency_ms: int = Field(default=0, ge=0, le=120_000)
    drip: bool | int = Field(default=False, ge=0, description="one byte each so many ms; true: 100")
    gzip_bomb: bool | int = Field(default=False, ge=0, le=2048, description="MiB when inflated; true: 256")
    redirect_to: str | None = Field(default=None, min_length=1)
    poison: tuple[int, ...] = Field(default=(), description="records that come out garbled")
    times: int | None = Field(default=None, ge=1)


class Faults:
    def __init__(self) -> None:
        self.set(Fault())

    def set(self, fault: Fault) -> None:
        self.current = fault
        self._left = fault.times

    def take(self) -> Fault:
        """The fault that hits this request."""
        fault = self.current
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.set(Fault())
        return fault


async def refusal(fault: Fault) -> Response | None:
    """What is answered in place of any work."""
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
    if fault.redirect_to:
        return Response(status_code=302, headers=headers | {"Location": fault.redirect_to})
    if fault.status:
        return JSONResponse({"error": "A fault was switched on."}, fault.status, headers)
    if fault.gzip_bomb:
        return await _bomb(256 if fault.gzip_bomb is True else fault.gzip_bomb)
    return None


async def _bomb(mebibytes: int) -> Response:
    body = await asyncio.to_thread(_packed, mebibytes)
    return Response(body, headers={"Content-Encoding": "gzip"}, media_type="application/json")


def _packed(mebibytes: int) -> bytes:
    """Valid JSON when inflated: an empty array with a great deal of room in it."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as inflated:
        inflated.write(b"[")
        for _ in range(mebibytes):
            inflated.write(b" " * MIB)
        inflated.write(b"]")
    return packed.getvalue()


def dripping(fault: Fault, response: Response) -> Response:
    """The same answer, one byte at a time."""
    if fault.drip is False:
        return response
    pause = 0.1 if fault.drip is True else fault.drip / 1000

    async def drops() -> AsyncIterator[bytes]:
        for byte in bytes(response.body):
            yield bytes([byte])
            await asyncio.sleep(pause)

    return StreamingResponse(drops(), response.status_code, dict(response.headers))


def garbled(record: Record) -> Record:
    """A record that no connector can use: its key is gone, its numbers are words, its time is none."""
    wrong = {"number": None, "sku": None, "total": "a lot", "quantity": "many", "updated_at": "yesterday"}
    return {name: wrong.get(name, value) for name, value in record.items()}
