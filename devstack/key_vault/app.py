"""The vault (`/secrets/{name}`), the identity endpoint (`/identity/token`), and the switches of both.

What of Key Vault's API the gateway and the operators' commands can meet: the 401 that names authority and resource,
the latest and an older version, the list of versions, a new version, a secret that is not there or disabled, and the
faults that `PUT /_devstack/faults` turns on. Tokens are the identity endpoint's own, of the form that Entra's have; the
vault takes those that were made for it.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Literal
from uuid import UUID, uuid4

import jwt
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.serving import instruction

API_VERSION = "api-version"
ISSUER = f"https://sts.windows.net/{UUID(int=0)}/"
SIGNING_KEY = token_bytes(32)
WHY = {
    403: ("Forbidden", "Caller is not authorized to perform action on resource.", "ForbiddenByRbac"),
    429: ("Throttled", "Too many requests were made in a given time.", ""),
}
"""What the real vault says with a status: code, message, and the code inside."""


class Fault(BaseModel):
    """What the next `times` requests get instead of their answer: a status after a delay."""

    model_config = ConfigDict(extra="forbid")
    part: Literal["vault", "identity"]
    method: Literal["GET", "PUT"] | None = None
    """None is any."""
    status: int = 500
    delay_seconds: float = 0
    times: int = 1_000_000


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")
    value: str
    age_seconds: float = 0
    enabled: bool = True


class NewVersion(BaseModel):
    """What a client may send; all but the value is left out of account."""

    value: str


@dataclass(frozen=True, slots=True)
class Version:
    name: str
    value: str = field(repr=False)
    updated: int
    enabled: bool


@dataclass(slots=True)
class Vault:
    url: str
    header: str
    """What the app must show the identity endpoint."""
    token_seconds: int = 3600
    secrets: dict[str, list[Version]] = field(default_factory=dict[str, list[Version]])
    faults: dict[str, Fault] = field(default_factory=dict[str, Fault])
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    """Token → what it is for. Each audience has one token at a time, until `DELETE /_devstack/tokens`."""
    current: dict[str, str] = field(default_factory=dict[str, str])
    asked: Counter[str] = field(default_factory=Counter[str])
    written: Counter[str] = field(default_factory=Counter[str])

    @property
    def resource(self) -> str:
        """Without the first label of the host, as `https://vault.azure.net` is of `https://name.vault.azure.net`:
        the SDK checks that the one ends with the other.
        """
        return "https://" + self.url.removeprefix("https://").partition(".")[2]

    async def fails(self, part: str, method: str = "GET") -> Response | None:
        fault = self.faults.get(part)
        if fault is None or fault.times <= 0 or fault.method not in (None, method):
            return None
        fault.times -= 1
        await asyncio.sleep(fault.delay_seconds)
        headers = {"Retry-After": "1"} if fault.status == 429 else {}
        return error(fault.status, *WHY.get(fault.status, ("Fault",)), headers=headers)

    async def secret(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.asked[name] += 1
        if failed := await self.fails("vault"):
            return failed
        if refused := self.refused(request):
            return refused
        wanted = request.path_params.get("version", "")
        found = [each for each in self.secrets.get(name, []) if wanted in ("", each.name)]
        if not found:
            return error(404, "SecretNotFound")
        if not found[-1].enabled:
            return error(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return JSONResponse({"value": found[-1].value, **self.properties(name, found[-1])})

    async def add_version(self, request: Request) -> Response:
        """The SDK's first request of a client comes here without token and body: it asks for the challenge."""
        if failed := await self.fails("vault", "PUT"):
            return failed
        if refused := self.refused(request):
            return refused
        try:
            sent = NewVersion.model_validate_json(await request.body())
        except ValidationError:
            return error(400, "BadParameter")
        name = request.path_params["name"]
        self.written[name] += 1
        version = self.keep(name, sent.value)
        return JSONResponse({"value": version.value, **self.properties(name, version)})

    def keep(self, name: str, value: str, age_seconds: float = 0, enabled: bool = True) -> Version:
        version = Version(uuid4().hex, value, int(time.time() - age_seconds), enabled)
        self.secrets.setdefault(name, []).append(version)
        return version

    async def versions(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = self.secrets.get(name, [])
        return self.refused(request) or JSONResponse({"value": [self.properties(name, each) for each in known]})

    def properties(self, name: str, version: Version) -> dict[str, object]:
        attributes = {"enabled": version.enabled, "created": version.updated, "updated": version.updated}
        attributes |= {"recoveryLevel": "Recoverable", "recoverableDays": 90}
        return {"id": f"{self.url}/secrets/{name}/{version.name}", "attributes": attributes}

    def refused(self, request: Request) -> Response | None:
        if API_VERSION not in request.query_params:
            return error(400, "ApiVersionMissing")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token) == self.resource:
            return None
        challenge = f'Bearer authorization="https://login.example/devstack", resource="{self.resource}"'
        return error(401, "Unauthorized", headers={"WWW-Authenticate": challenge})

    async def token(self, request: Request) -> Response:
        """As App Service's endpoint: `X-IDENTITY-HEADER`, `resource`, and `client_id` of a user-assigned identity."""
        self.asked["token"] += 1
        if failed := await self.fails("identity"):
            return failed
        if request.headers.get("x-identity-header") != self.header or API_VERSION not in request.query_params:
            return error(403, "Forbidden")
        resource = request.query_params["resource"]
        token = self.current.setdefault(resource, self.new_token(resource))
        self.tokens[token] = resource
        expires_on = int(time.time()) + self.token_seconds
        return JSONResponse(
            {"access_token": token, "expires_on": str(expires_on), "resource": resource, "token_type": "Bearer"}
            | {"client_id": request.query_params.get("client_id", "")}
        )

    def new_token(self, resource: str) -> str:
        now = int(time.time())
        claims = {"aud": resource, "iss": ISSUER, "iat": now, "nbf": now, "exp": now + self.token_seconds}
        return jwt.encode({**claims, "uti": uuid4().hex}, SIGNING_KEY)

    async def put(self, request: Request) -> Response:
        wanted = await instruction(request, Wanted)
        self.keep(request.path_params["name"], wanted.value, wanted.age_seconds, wanted.enabled)
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        self.secrets.pop(request.path_params["name"], None)
        return Response(status_code=204)

    async def set_fault(self, request: Request) -> Response:
        fault = await instruction(request, Fault)
        self.faults[fault.part] = fault
        return Response(status_code=204)

    async def clear_faults(self, request: Request) -> Response:
        self.faults.clear()
        return Response(status_code=204)

    async def renew_tokens(self, request: Request) -> Response:
        """The next token of each audience is another one; those that are out stay good."""
        self.current.clear()
        return Response(status_code=204)

    async def known(self, request: Request) -> Response:
        """How often each secret, and `token`, was asked for; what clients wrote how often; the tokens that are out."""
        return JSONResponse({"asked": dict(self.asked), "written": dict(self.written), "tokens": self.tokens})

    async def health(self, request: Request) -> Response:
        return Response(status_code=204)

    def vault_app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/secrets/{name}/versions", self.versions),
                Route("/secrets/{name}/{version}", self.secret),
                Route("/secrets/{name}/", self.secret),
                Route("/secrets/{name}", self.secret),
                Route("/secrets/{name}", self.add_version, methods=["PUT"]),
            ]
        )

    def identity_app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/identity/token", self.token),
                Route("/_devstack/secrets/{name}", self.put, methods=["PUT"]),
                Route("/_devstack/secrets/{name}", self.delete, methods=["DELETE"]),
                Route("/_devstack/faults", self.set_fault, methods=["PUT"]),
                Route("/_devstack/faults", self.clear_faults, methods=["DELETE"]),
                Route("/_devstack/tokens", self.renew_tokens, methods=["DELETE"]),
                Route("/_devstack/known", self.known),
                Route("/_devstack/health", self.health),
            ]
        )


def error(
    status: int, code: str, message: str = "", inner: str = "", headers: dict[str, str] | None = None
) -> Response:
    said: dict[str, object] = {"code": code, "message": message or f"devstack: {code}"}
    if inner:
        said["innererror"] = {"code": inner}
    return JSONResponse({"error": said}, status_code=status, headers=headers)
