"""Faults that a test can switch on (facts section 7.4, item 11; their looks: sections 2.5 and 2.10)."""

import time
from collections import deque
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, Response

from devstack.xano_server.errors import XanoError, fatal, too_many_requests, unauthorized

CALLS, SECONDS = 10, 20.0
BAD_GATEWAY_PAGE = """<html>
<head><title>{status} Bad Gateway</title></head>
<body><center><h1>{status} Bad Gateway</h1></center><hr><center>nginx</center></body>
</html>
"""


class Fault(BaseModel):
    """What `PUT /_devstack/faults` takes. Each PUT replaces the one before; `times` counts the requests it hits."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    status: int | None = Field(default=None, ge=400, le=599)
    html: bool = False
    latency_ms: int = Field(default=0, ge=0, le=120_000)
    rate_limit: bool = False
    connection_lost: bool = False
    drop_after_commit: bool = False
    unauthorized: bool = False
    truncated_json: bool = False
    times: int | None = Field(default=None, ge=1)


class Faults:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.set(Fault())

    def set(self, fault: Fault) -> None:
        self.current = fault
        self._left = fault.times
        self._calls: deque[float] = deque()

    def take(self) -> Fault:
        """The fault that hits this request."""
        fault = self.current
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.set(Fault())
        return fault

    def refusal(self, fault: Fault) -> Response | None:
        """What is answered in place of any work."""
        if fault.rate_limit and not self._allowed():
            return too_many_requests().response()
        if fault.unauthorized:
            return unauthorized().response()
        if fault.connection_lost:
            return fatal("Connection lost").response()
        if fault.status and fault.html:
            return HTMLResponse(BAD_GATEWAY_PAGE.format(status=fault.status), fault.status)
        if fault.status:
            return XanoError(fault.status, "ERROR_FATAL", "A fault was switched on.").response()
        return None

    def _allowed(self) -> bool:
        """10 requests in any 20 seconds, for the whole account. Refused ones do not count."""
        now = self.clock()
        while self._calls and self._calls[0] <= now - SECONDS:
            self._calls.popleft()
        if len(self._calls) >= CALLS:
            return False
        self._calls.append(now)
        return True
