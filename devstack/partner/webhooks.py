"""The webhook receiver (contract section 1): verify on the raw bytes, keep everything, answer as told."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from svix.webhooks import Webhook

from devstack.partner.hooks import HookSettings, Respond
from devstack.partner.inbox import Inbox, Received
from devstack.serving import body_within, instruction, rfc3339

MAX_BODY = 1024 * 1024
USUAL = Respond()


@dataclass(frozen=True, slots=True)
class Webhooks:
    inbox: Inbox

    async def receive(self, request: Request) -> Response:
        try:
            body = await body_within(request, MAX_BODY)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            raise HTTPException(413, f"A webhook may have {MAX_BODY} bytes.")
        respond = self._keep(_name(request), dict(request.headers), body)
        await asyncio.sleep(respond.delay_ms / 1000)
        told = "" if respond.status in (204, 205, 304) else f"told to answer {respond.status}\n"
        return Response(told, respond.status, media_type="text/plain" if told else None)

    def _keep(self, name: str, headers: dict[str, str], body: bytes) -> Respond:
        """Kept before it is answered, whatever the answer; says what that answer is."""
        hook = self.inbox.hook(name)
        verified = hook.secret is not None and genuine(hook.secret, body, headers)
        now = rfc3339(datetime.now(UTC))
        self.inbox.keep(name, Received(headers=headers, body=body, verified=verified, at=now))
        return hook.respond or USUAL

    async def show(self, request: Request) -> Response:
        """`?limit=n` shows the newest n only."""
        limit = request.query_params.get("limit", "10000")
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 10):
            raise HTTPException(422, "limit is not a whole number.")
        received = [
            {"headers": each.headers, "body": _text(each.body), "verified": each.verified, "at": each.at}
            for each in self.inbox.received(_name(request), int(limit))
        ]
        return Response(orjson.dumps({"received": received}), media_type="application/json")

    async def tell(self, request: Request) -> Response:
        """Answers the settings that hold now; the secret itself is never shown again."""
        settings = self.inbox.tell(_name(request), await instruction(request, HookSettings))
        respond = settings.respond.model_dump() if settings.respond else None
        return JSONResponse({"secret_known": settings.secret is not None, "respond": respond})

    async def empty(self, request: Request) -> Response:
        self.inbox.empty(_name(request))
        return Response(status_code=204)


def genuine(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether the signature holds, in `svix-*` or `webhook-*` headers; garbage is merely not genuine."""
    try:
        Webhook(secret).verify(body, headers)
    except Exception:  # The library lets several kinds of error out on garbage (facts, svix.md section 0.6).
        return False
    return True


def _name(request: Request) -> str:
    name = request.path_params["name"]
    if not name or len(name) > 200:
        raise HTTPException(404, "A webhook receiver has a name of 1 to 200 characters.")
    return name


def _text(body: bytes) -> str:
    return body.decode(errors="replace")


def routes(inbox: Inbox) -> list[Route]:
    webhooks = Webhooks(inbox)
    path = "/webhooks/{name:path}"
    return [
        Route(path, webhooks.receive, methods=["POST"]),
        Route(path, webhooks.show, methods=["GET"]),
        Route(path, webhooks.tell, methods=["PUT"]),
        Route(path, webhooks.empty, methods=["DELETE"]),
    ]
