"""The partner's OAuth server: authorize, token, revoke (RFC 6749, 7009, 7636, 9207).

It takes any client with any secret that is not empty, as nobody registers one on a developer's machine; and it says
yes for the person, unless told to ask or to deny. PKCE with S256 is a must.
"""

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from devstack.partner.grants import Asked, Behaviour, Grants
from devstack.serving import body_within, instruction

CHALLENGE = re.compile(r"[A-Za-z0-9_\-]{43}")
VERIFIER = re.compile(r"[A-Za-z0-9._~\-]{43,128}")
NO_STORE = {"Cache-Control": "no-store"}
MAX_FORM = 64 * 1024
PAGE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Example partner</title>
<h1>Let {client} in?</h1><form method="get">{fields}
<button name="decision" value="approve">Approve</button> <button name="decision" value="deny">Deny</button></form>"""


class Refused(Exception):
    """An error of the token endpoint: its code."""


@dataclass(frozen=True, slots=True)
class OAuthServer:
    grants: Grants

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        client_id, redirect_uri = asked.get("client_id", ""), asked.get("redirect_uri", "")
        target = urlsplit(redirect_uri)
        if not client_id or target.scheme not in ("http", "https") or not target.netloc or target.fragment:
            raise HTTPException(400, "client_id or redirect_uri is missing or wrong.")
        told = self.grants.behaviour(client_id)
        back = {"state": asked.get("state", ""), "iss": told.iss or str(request.base_url).rstrip("/")}
        if told.ask and "decision" not in asked and sound(asked):
            return HTMLResponse(question(asked))
        self.grants.counts[client_id]["authorizations"] += 1
        back |= self._decided(asked, told)
        return RedirectResponse(f"{redirect_uri}{'&' if target.query else '?'}{urlencode(back)}", 302, NO_STORE)

    def _decided(self, asked: dict[str, str], told: Behaviour) -> dict[str, str]:
        if not sound(asked):
            return {"error": "invalid_request", "error_description": "PKCE with S256 and a state are needed."}
        if told.deny or asked.get("decision") == "deny":
            return {"error": "access_denied", "error_description": "<b>The person said no.</b>"}
        wanted = Asked(
            client_id=asked["client_id"],
            redirect_uri=asked["redirect_uri"],
            challenge=asked["code_challenge"],
            scope=asked.get("scope", ""),
        )
        return {"code": self.grants.new_code(wanted)}

    async def token(self, request: Request) -> Response:
        """What is granted is granted, however late the answer is."""
        form = await form_of(request)
        try:
            client_id = client_of(request, form)
        except Refused as refusal:
            return refused(refusal)
        self.grants.counts[client_id]["token_requests"] += 1
        told = self.grants.fault(client_id)
        answer = self._answered(client_id, form, told)
        await asyncio.sleep(told.delay_ms / 1000)
        return answer

    def _answered(self, client_id: str, form: dict[str, str], told: Behaviour) -> Response:
        if told.status:
            return JSONResponse({"error": "server_error"}, told.status, NO_STORE)
        if told.nonsense:
            return Response(b"?" * 1024 * 1024, media_type="application/json")
        try:
            if told.error:
                raise Refused(told.error)
            return JSONResponse(self._granted(client_id, form, told), headers=NO_STORE)
        except Refused as refusal:
            return refused(refusal)

    def _granted(self, client_id: str, form: dict[str, str], told: Behaviour) -> dict[str, object]:
        match form.get("grant_type"):
            case "authorization_code":
                return self._redeemed(client_id, form, told)
            case "refresh_token":
                return self._refreshed(client_id, form, told)
            case "client_credentials":
                self.grants.counts[client_id]["client_credentials"] += 1
                return self._answer(client_id, client_id, form.get("scope", ""), told)
            case _:
                raise Refused("unsupported_grant_type")

    def _redeemed(self, client_id: str, form: dict[str, str], told: Behaviour) -> dict[str, object]:
        self.grants.counts[client_id]["codes"] += 1
        code, verifier = form.get("code", ""), form.get("code_verifier", "")
        if not VERIFIER.fullmatch(verifier):
            raise Refused("invalid_request")
        scope = self.grants.redeem(code, client_id, form.get("redirect_uri", ""), verifier)
        if scope is None:
            raise Refused("invalid_grant")
        answer = self._answer(client_id, code, scope, told)
        if told.refresh_token:
            answer["refresh_token"] = self.grants.new_token("rt", code, client_id, scope, None)
        return answer

    def _refreshed(self, client_id: str, form: dict[str, str], told: Behaviour) -> dict[str, object]:
        self.grants.counts[client_id]["refreshes"] += 1
        shown = form.get("refresh_token", "")
        grant = self.grants.grant_of(shown, client_id)
        if grant is None:
            raise Refused("invalid_grant")
        answer = self._answer(client_id, *grant, told)
        if told.rotate:
            self.grants.retire(shown)
            answer["refresh_token"] = self.grants.new_token("rt", grant[0], client_id, grant[1], None)
        return answer

    def _answer(self, client_id: str, grant_id: str, scope: str, told: Behaviour) -> dict[str, object]:
        token = self.grants.new_token("at", grant_id, client_id, scope, told.expires_in)
        answer: dict[str, object] = {"access_token": token, "token_type": "Bearer", "scope": scope}
        return answer if told.expires_in is None else {**answer, "expires_in": told.expires_in}

    async def revoke(self, request: Request) -> Response:
        form = await form_of(request)
        try:
            client_id = client_of(request, form)
        except Refused as refusal:
            return JSONResponse({"error": str(refusal)}, 401)
        told = self.grants.fault(client_id)
        if told.status:
            return JSONResponse({"error": "server_error"}, told.status)
        self.grants.counts[client_id]["revocations"] += 1
        self.grants.revoke(form.get("token", ""), client_id)
        return Response()

    async def tell(self, request: Request) -> Response:
        told = await instruction(request, Behaviour)
        self.grants.tell(request.path_params["client_id"], told)
        return JSONResponse(told.model_dump())

    async def counted(self, request: Request) -> Response:
        names = ("authorizations", "token_requests", "codes", "refreshes", "client_credentials", "revocations")
        counts = self.grants.counts[request.path_params["client_id"]]
        return JSONResponse({name: counts[name] for name in names})

    async def reject(self, request: Request) -> Response:
        """The access tokens that the client has are taken no longer; its refresh tokens are."""
        self.grants.reject_access_tokens(request.path_params["client_id"])
        return Response(status_code=204)


def refused(refusal: Refused) -> Response:
    error = str(refusal)
    words = {"error": error, "error_description": "A secret-sounding word of the partner's own."}
    return JSONResponse(words, 401 if error == "invalid_client" else 400, NO_STORE)


def sound(asked: dict[str, str]) -> bool:
    pkce = asked.get("code_challenge_method") == "S256" and CHALLENGE.fullmatch(asked.get("code_challenge", ""))
    return asked.get("response_type") == "code" and bool(asked.get("state")) and bool(pkce)


def question(asked: dict[str, str]) -> str:
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in asked.items()
    )
    return PAGE.format(client=escape(asked["client_id"]), fields=fields)


async def form_of(request: Request) -> dict[str, str]:
    body = await body_within(request, MAX_FORM)
    if body is None:
        raise HTTPException(413, f"A form may have {MAX_FORM} bytes.")
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def client_of(request: Request, form: dict[str, str]) -> str:
    """By Basic or in the form; raises Refused without an id and a secret."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as problem:
            raise Refused("invalid_client") from problem
        client_id, secret = unquote_plus(client_id), unquote_plus(secret)
    if not client_id or not secret:
        raise Refused("invalid_client")
    return client_id


def routes(grants: Grants) -> list[Route]:
    server = OAuthServer(grants)
    told = "/_devstack/oauth/{client_id}"
    return [
        Route("/oauth/authorize", server.authorize, methods=["GET"]),
        Route("/oauth/token", server.token, methods=["POST"]),
        Route("/oauth/revoke", server.revoke, methods=["POST"]),
        Route(told, server.counted, methods=["GET"]),
        Route(told, server.tell, methods=["PUT"]),
        Route(f"{told}/access-tokens", server.reject, methods=["DELETE"]),
    ]
