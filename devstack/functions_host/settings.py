"""What the host reads once at start: host.json, the environment, and the settings that override host.json."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_OVERRIDE = "AzureFunctionsJobHost__"
_DEFAULT_BODY_LIMIT = 104_857_600
_DEFAULT_EXCLUDED_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_TIMESPAN = re.compile(r"(?:(?P<days>\d+)(?:\.|$))?(?:(?P<hours>\d+):(?P<minutes>\d+)(?::(?P<seconds>\d+))?)?")


class BadSettings(Exception):
    """host.json or a setting cannot be used; the text is one line for the person who started the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hsts:
    """Sent over https only and never to the excluded hosts, which by default are the loopback names."""

    value: str
    excluded_hosts: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of -1 are "no limit"; times are in seconds."""

    route_prefix: str = "api"
    custom_headers: Mapping[str, str] = field(default_factory=dict)
    hsts: Hsts | None = None
    max_outstanding: int = -1
    max_concurrent: int = -1
    function_timeout: float = 1800
    body_limit: int = _DEFAULT_BODY_LIMIT
    homepage_disabled: bool = False
    enforce_auth: bool = False
    master_key: str = ""
    function_key: str = ""
    front_timeout: float = 230

    @classmethod
    def read(cls, app_root: Path, environment: Mapping[str, str] = os.environ) -> "Settings":
        host = _overridden(_host_json(app_root / "host.json"), environment)
        try:
            http = host.get("extensions", {}).get("http", {})
            return cls(
                route_prefix=str(http.get("routePrefix", "api")).strip("/"),
                custom_headers={name: str(value) for name, value in http.get("customHeaders", {}).items()},
                hsts=_hsts(http.get("hsts", {})),
                max_outstanding=int(http.get("maxOutstandingRequests", -1)),
                max_concurrent=int(http.get("maxConcurrentRequests", -1)),
                function_timeout=_seconds(host.get("functionTimeout", "00:30:00")),
                **_from_environment(environment),
            )
        except (AttributeError, TypeError, ValueError) as problem:
            raise BadSettings(f"host.json or a setting has a value that cannot be used: {problem}") from problem


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "body_limit": int(environment.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") or _DEFAULT_BODY_LIMIT),
        "homepage_disabled": environment.get("AzureWebJobsDisableHomepage", "").lower() == "true",
        "enforce_auth": environment.get("DEVSTACK_ENFORCE_AUTH") == "1",
        "master_key": environment.get("DEVSTACK_MASTER_KEY", ""),
        "function_key": environment.get("DEVSTACK_FUNCTION_KEY", ""),
        "front_timeout": float(environment.get("DEVSTACK_FRONT_TIMEOUT") or 230),
    }


def disabled(name: str, environment: Mapping[str, str]) -> bool:
    """`AzureWebJobs.<name>.Disabled`, with the dots written `__` where a shell refuses them."""
    values = (environment.get(f"AzureWebJobs{dot}{name}{dot}Disabled", "") for dot in (".", "__"))
    return any(value.lower() in ("true", "1") for value in values)


def _host_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BadSettings(f"{path} does not exist; an app has one with at least {{'version': '2.0'}}")
    try:
        host = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as problem:
        raise BadSettings(f"{path} is not JSON: {problem}") from problem
    if not isinstance(host, dict) or host.get("version") != "2.0":
        raise BadSettings(f'{path} must say "version": "2.0"')
    return host


def _overridden(host: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """`AzureFunctionsJobHost__extensions__http__routePrefix` replaces that value (facts section 4)."""
    for name, value in environment.items():
        if not name.startswith(_OVERRIDE):
            continue
        *path, last = name.removeprefix(_OVERRIDE).split("__")
        place = host
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value
    return host


def _hsts(options: Mapping[str, Any]) -> Hsts | None:
    if not _true(options.get("isEnabled")):
        return None
    value = f"max-age={int(_seconds(options.get('maxAge', '30')))}"
    value += "; includeSubDomains" if _true(options.get("includeSubDomains")) else ""
    value += "; preload" if _true(options.get("preload")) else ""
    hosts = options.get("excludedHosts") or _DEFAULT_EXCLUDED_HOSTS
    return Hsts(value=value, excluded_hosts=frozenset(str(host).lower() for host in hosts))


def _true(value: object) -> bool:
    return str(value).lower() == "true"


def _seconds(value: object) -> float:
    """A .NET TimeSpan: "00:10:00", "1.00:00:00", and a bare number is DAYS. "-1" is no limit."""
    text = str(value)
    if text == "-1":
        return float("inf")
    found = _TIMESPAN.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"'{text}' is not a time span")
    days, hours, minutes, seconds = (int(part or 0) for part in found.group("days", "hours", "minutes", "seconds"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
