"""The host's own routes under /admin: the few that a local run needs (facts sections 1 and 3)."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence

from devstack.functions_host.access import Keys
from devstack.functions_host.metadata import Function
from devstack.functions_host.replies import Replies, Reply

_RESERVED = re.compile(r"(?:admin|runtime)(?:/.*)?", re.IGNORECASE | re.DOTALL)
_ONE_FUNCTION = re.compile(r"admin/functions/([^/]+)/?", re.IGNORECASE)

logger = logging.getLogger("functions_host")


class Admin:
    """`fire` starts a run of the timer with that name."""

    def __init__(
        self, functions: Sequence[Function], keys: Keys, replies: Replies, fire: Callable[[str], None]
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._keys = keys
        self._replies = replies
        self._fire = fire

    @staticmethod
    def owns(path: str) -> bool:
        """Nothing below these is ever given to a function, not even to a catch-all."""
        return _RESERVED.fullmatch(path) is not None

    def answer(self, method: str, path: str, headers: Mapping[str, str], query: bytes) -> Reply:
        place = path.lower().rstrip("/")
        if place == "admin/host/ping":
            return self._replies.empty(200, headers)
        named = _ONE_FUNCTION.fullmatch(path)
        if not (named and method == "POST") and (method, place) not in self._listings():
            return self._replies.empty(404, headers)
        if not self._keys.open_admin(headers, query):
            return self._replies.empty(401, headers)
        if named:
            return self._replies.empty(self._run(named[1].lower(), headers), headers)
        body = json.dumps(self._listings()[method, place]()).encode()
        return self._replies.made(200, {"content-type": "application/json"}, body, headers)

    def _run(self, name: str, headers: Mapping[str, str]) -> int:
        function = self._functions.get(name)
        if function is None:
            return 404
        if not function.is_timer:
            logger.warning("function '%s' is not a timer; this host fires only timers by hand", function.name)
            return 400
        if "json" not in headers.get("content-type", "") or headers.get("content-length", "0") == "0":
            logger.warning("firing '%s': Azure also wants Content-Type: application/json and a body, at least {}", name)
        self._fire(function.name)
        return 202

    def _listings(self) -> Mapping[tuple[str, str], Callable[[], object]]:
        return {("GET", "admin/host/status"): self._status, ("GET", "admin/functions"): self._index}

    def _status(self) -> object:
        return {"state": "Running", "functions": len(self._functions)}

    def _index(self) -> object:
        return [{"name": function.name, "bindings": function.bindings} for function in self._functions.values()]
