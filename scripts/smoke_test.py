"""Ask a deployed PinkSync whether it works: `python -m scripts.smoke_test https://api.example.com`. Safe to repeat.

Without a key it asks only what is open, and that what is not open is refused. With an admin key in
PINKSYNC_ADMIN_API_KEY it also onboards a partner of its own, calls with that partner's key, and deletes it again.

Exit code 0: every check went well. 1: one did not. 2: a wrong command line.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

import httpx

ADMIN_KEY = "PINKSYNC_ADMIN_API_KEY"
PAUSE = 0.5
STEADY = 10
"""Answers: while one version replaces another, both give some."""
PARTNER = {"name": "Smoke test", "type": "partner", "auth_method": "api_key"}

type Check = Callable[[], str]
"""Answers what it saw; raises Wrong or an httpx error."""


class Wrong(Exception):
    """An answer that is not what it must be."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    ends = time.monotonic() + options.deadline
    with httpx.Client(base_url=options.url, timeout=min(15, options.deadline), trust_env=False) as client:
        awake(client, min(options.wait, options.deadline), options.build)
        checks = [*open_checks(client, options.build), *direct_checks(options.direct_host)]
        if key := os.environ.get(ADMIN_KEY):
            checks.append(("a partner, from onboarding to deletion", lambda: partner_life(client, key)))
        failures = sum(not went_well(name, check, ends) for name, check in checks)
    print(f"{len(checks) - failures} of {len(checks)} checks went well.")
    return 1 if failures else 0


def parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        prog="python -m scripts.smoke_test",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("url", type=address, help="where its users call it")
    made.add_argument(
        "--direct-host", type=address, metavar="URL", help="the app behind the front door: must be closed"
    )
    made.add_argument("--wait", type=float, default=0, metavar="S", help="wait so long for an answer (default 0)")
    made.add_argument(
        "--build", metavar="ID", help=f"that of scripts.package: wait until {STEADY} answers in a row come from it"
    )
    made.add_argument("--deadline", type=float, default=120, metavar="S", help="for all of it (default 120)")
    return made


def address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise argparse.ArgumentTypeError(f"{text} is not an http or https URL")
    return text.rstrip("/")


def awake(client: httpx.Client, seconds: float, build: str | None) -> None:
    """Returns at the first answer of the app, or once it answers as this build and no other; or when the time is over:
    the checks then say what is wrong.
    """
    ends, steady = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        steady = steady + 1 if serves(client, build) else 0
        if steady == (STEADY if build else 1):
            return
        time.sleep(PAUSE)


def serves(client: httpx.Client, build: str | None) -> bool:
    try:
        health(client, build)
    except (Wrong, httpx.HTTPError, ValueError, KeyError):
        return False
    return True


def went_well(name: str, check: Check, ends: float) -> bool:
    started = time.monotonic()
    try:
        if started > ends:
            raise Wrong("not tried: the deadline is over")
        saw, well = check(), True
    except Wrong as wrong:
        saw, well = str(wrong), False
    except httpx.HTTPError as error:
        saw, well = f"{type(error).__name__}: {error}", False
    except (ValueError, KeyError):
        saw, well = "an answer that is not PinkSync's", False
    took = (time.monotonic() - started) * 1000
    print(f"{'ok  ' if well else 'FAIL'}  {name}: {saw} ({took:.0f} ms)", flush=True)
    return well


def open_checks(client: httpx.Client, build: str | None) -> Iterator[tuple[str, Check]]:
    yield "GET /api/health", lambda: health(client, build)
    yield "GET /api/ready", lambda: ready(client)
    yield "GET /api/openapi.json", lambda: openapi(client)
    yield "no key", lambda: refused(client, "GET", "/api/partners", 401)
    yield "a wrong key", lambda: refused(client, "GET", "/api/partners", 401, {"Authorization": "Bearer wrong"})
    yield "no such route", lambda: refused(client, "GET", "/api/no-such-route", 404)
    yield "a wrong method", lambda: wrong_method(client)
    if client.base_url.scheme == "https":
        yield "Strict-Transport-Security", lambda: strict_transport(client)


def direct_checks(url: str | None) -> Iterator[tuple[str, Check]]:
    if url:
        yield "around the front door", lambda: closed(url)


def health(client: httpx.Client, build: str | None) -> str:
    """On a connection of its own, so that another instance may answer the next one."""
    version = expected(client.get("/api/health", headers={"Connection": "close"}), 200).json()["version"]
    if build and not version.endswith(f"+{build}"):
        raise Wrong(f"version {version}, not build {build}")
    return f"version {version}"


def ready(client: httpx.Client) -> str:
    answer = expected(client.get("/api/ready"), 200).json()
    return ", ".join(f"{name} {state}" for name, state in answer["dependencies"].items())


def openapi(client: httpx.Client) -> str:
    document = expected(client.get("/api/openapi.json"), 200).json()
    return f"OpenAPI {document['openapi']}, {len(document['paths'])} paths"


def refused(client: httpx.Client, method: str, path: str, status: int, headers: dict[str, str] | None = None) -> str:
    answer = expected(client.request(method, path, headers=headers), status)
    if answer.headers.get("content-type") != "application/problem+json":
        raise Wrong(f"{status} without a problem document")
    return f"{status} {answer.json()['code']}"


def wrong_method(client: httpx.Client) -> str:
    told = refused(client, "POST", "/api/health", 405)
    allowed = client.post("/api/health").headers.get("allow")
    if not allowed:
        raise Wrong("405 without Allow")
    return f"{told}, Allow: {allowed}"


def strict_transport(client: httpx.Client) -> str:
    told = client.get("/api/health").headers.get("strict-transport-security")
    if not told or "max-age=0" in told:
        raise Wrong(f"the header is {told or 'not there'}")
    return told


def closed(url: str) -> str:
    expected(httpx.get(f"{url}/api/health", timeout=15, trust_env=False), 403)
    return "403"


def partner_life(client: httpx.Client, admin_key: str) -> str:
    admin = {"Authorization": f"Bearer {admin_key}"}
    partner = expected(client.post("/api/partners/connect", json=PARTNER, headers=admin), 201).json()
    path, key = f"/api/partners/{partner['partner_id']}", {"Authorization": f"Bearer {partner['api_key']}"}
    try:
        called = expected(client.get("/api/test", headers=key), 200)
    finally:
        deleted = client.delete(path, headers=admin)
    expected(deleted, 204)
    expected(client.get("/api/test", headers=key), 401)
    return f"made, called with {called.headers['x-ratelimit-remaining']} calls left, deleted, its key is dead"


def expected(answer: httpx.Response, status: int) -> httpx.Response:
    """The answer, if it has this status. Never its body: that may hold a key."""
    if answer.status_code != status:
        request = answer.request
        raise Wrong(f"{request.method} {request.url.path} answered {answer.status_code}, not {status}")
    return answer


if __name__ == "__main__":
    sys.exit(main())
