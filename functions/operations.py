"""What operators and tools ask: is it alive, can it serve, what happened, what does the API look like."""

from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import azure.functions as func
from pydantic import Field

from functions.http import ALL_METHODS, ENDPOINTS, Access, Call, Endpoint, Nothing, Reply, add_function, endpoint
from functions.openapi import document
from functions.schemas import AnswerBody, ListAnswer, Moment, PeriodQuery
from shared_code import errors
from shared_code.model import Health, Severity
from shared_code.ports import AuditFilter

bp = func.Blueprint()

DOCS = Path(__file__).parent / "static" / "docs"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
}
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class HealthAnswer(AnswerBody):
    status: Literal["ok"] = "ok"
    version: str


class ReadyAnswer(AnswerBody):
    status: Health
    dependencies: dict[str, Health]
    late_timers: list[str] = Field(description="Timers that did not run on time.")


class LogsQuery(PeriodQuery):
    partner_id: UUID | None = None
    severity: Severity | None = None
    event_type: str | None = Field(default=None, max_length=100)
    request_id: str | None = Field(default=None, max_length=64)


class LogAnswer(AnswerBody):
    log_id: UUID
    event_type: str
    severity: Severity
    message: str
    actor: str
    target: str
    partner_id: UUID | None
    metadata: dict[str, Any]
    request_id: str | None
    ip_address: str | None
    user_agent: str | None
    created_at: Moment


class LogsAnswer(ListAnswer):
    logs: list[LogAnswer]


@endpoint(bp, "GET", "api/health", access=Access.OPEN, tag="Operations", answer=HealthAnswer)
async def health(call: Call) -> Reply:
    """Alive, and which version. Asks nobody."""
    return Reply(model=HealthAnswer(version=call.gateway.settings.version))


@endpoint(bp, "GET", "api/ready", access=Access.OPEN, tag="Operations", answer=ReadyAnswer)
async def ready(call: Call) -> Reply:
    """Each dependency: ok, degraded or down. 503 only when the gateway cannot serve."""
    readiness = await call.gateway.readiness.check()
    status = 503 if readiness.overall is Health.DOWN else 200
    answer = ReadyAnswer(
        status=readiness.overall, dependencies=dict(readiness.dependencies), late_timers=list(readiness.late_timers)
    )
    return Reply(status=status, model=answer, headers={"Cache-Control": "no-store"})


@endpoint(bp, "GET", "api/logs", access=Access.KEY, tag="Sync, audit, operations", query=LogsQuery, answer=LogsAnswer)
async def logs_list(call: Call[Nothing, LogsQuery]) -> Reply:
    """The audit trail, newest first: a partner sees its own rows."""
    query, page = call.query, call.query.page()
    wanted = AuditFilter(
        partner_id=call.caller.reach(query.partner_id) if query.partner_id else call.caller.own(),
        severity=query.severity,
        event_type=query.event_type,
        request_id=query.request_id,
        since=query.since,
        until=query.until,
    )
    found = await call.gateway.audit.list(wanted, page)
    return Reply(model=LogsAnswer.listing("logs", found, page, LogAnswer.of))


@endpoint(bp, "GET", "api/openapi.json", access=Access.OPEN, tag="Operations")
async def openapi_json(call: Call) -> Reply:
    """OpenAPI 3.1 of every route of this gateway."""
    settings = call.gateway.settings
    return Reply(content=document(ENDPOINTS, settings.version, settings.public_url))


@endpoint(bp, "GET", "api/docs", access=Access.OPEN, tag="Operations", content_type=CONTENT_TYPES[".html"])
async def docs_page(call: Call) -> Reply:
    """A page to read the API and try it."""
    return asset("index.html")


@endpoint(bp, "GET", "api/docs/{asset}", access=Access.OPEN, tag="Operations", content_type="*/*")
async def docs_asset(call: Call) -> Reply:
    """The scripts and styles of the page."""
    return asset(call.path["asset"])


def asset(name: str) -> Reply:
    """One of the files that are there; never a path."""
    known = {path.name: path for path in DOCS.iterdir() if path.suffix in CONTENT_TYPES}
    if name not in known:
        raise errors.NotFound()
    headers = {"Content-Security-Policy": DOCS_POLICY, "Cache-Control": "public, max-age=3600"}
    return Reply(content=known[name].read_bytes(), content_type=CONTENT_TYPES[known[name].suffix], headers=headers)


async def nowhere(call: Call) -> Reply:
    """404, or 405 with `Allow` where the path exists with other methods."""
    fitting = [made for made in ENDPOINTS if fits(made.route, call.request.path_text)]
    if fitting:
        plainest = min(made.route.count("{") for made in fitting)  # `deliveries/retry` is no delivery's id
        allowed = {method for made in fitting if made.route.count("{") == plainest for method in made.methods}
        raise errors.MethodNotAllowed(headers={"Allow": ", ".join(sorted(allowed))})
    raise errors.NotFound("There is no such route here; `/api/docs` shows those there are.")


def fits(route: str, path: str) -> bool:
    """Does the path have the shape of this route? Templates here are plain segments and a trailing catch-all."""
    wanted, given = route.split("/"), path.strip("/").split("/")
    if wanted[-1].startswith("{*"):
        return len(given) >= len(wanted) - 1 and all(map(segment_fits, wanted[:-1], given))
    return len(wanted) == len(given) and all(map(segment_fits, wanted, given))


def segment_fits(wanted: str, given: str) -> bool:
    return (wanted.startswith("{") and given != "") or wanted.lower() == given.lower()


CATCH_ALL = Endpoint(
    name="zz_not_found",
    summary="Anything else: a problem document.",
    methods=ALL_METHODS,
    route="{*path}",
    access=Access.OPEN,
    tag="Operations",
    handler=nowhere,
)
"""Sorts last by name, so the host tries it last; it is the only function with more than one method."""
add_function(bp, CATCH_ALL)
