"""Keys: which requests a FUNCTION or ADMIN level, or the admin API, lets in (facts section 1, auth levels)."""

import hmac
from collections.abc import Mapping

from devstack.functions_host.requests import read_query
from devstack.functions_host.settings import Settings


class Keys:
    """The master key opens everything, the function key only the FUNCTION level. An unset key opens nothing."""

    def __init__(self, settings: Settings) -> None:
        self._master = settings.master_key
        self._function = settings.function_key
        self._enforced = settings.enforce_auth

    def allow(self, auth_level: str, headers: Mapping[str, str], query: bytes) -> bool:
        """Off by default, as Core Tools has it; DEVSTACK_ENFORCE_AUTH=1 makes it what Azure does."""
        if auth_level == "ANONYMOUS" or not self._enforced:
            return True
        key = _presented(headers, query)
        return _same(key, self._master) or (auth_level == "FUNCTION" and _same(key, self._function))

    def open_admin(self, headers: Mapping[str, str], query: bytes) -> bool:
        return _same(_presented(headers, query), self._master)


def _presented(headers: Mapping[str, str], query: bytes) -> str:
    """The header wins over `?code=`."""
    return headers.get("x-functions-key") or read_query(query).get("code", "")


def _same(presented: str, key: str) -> bool:
    return bool(key) and hmac.compare_digest(presented.encode(), key.encode())
