"""Partners' authorization servers over httpx, behind the egress guard; the requests themselves are Authlib's.

Authlib's own httpx client is not used: see docs/decisions/0014-oauth-connections.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated
from urllib.parse import quote_plus

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7009.parameters import prepare_revoke_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from shared_code import errors
from shared_code.adapters.httpx_egress import fetch, guarded_client
from shared_code.model import ClientAuth, OAuthProvider
from shared_code.ports import IssuedTokens, OAuthClient, TokenRefused

MOST_BYTES = 64 * 1024
OVERALL_SECONDS = 8.0
OAUTH_ERRORS = frozenset(
    {
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_token_type",
    }
)
SCOPE_SEPARATOR = re.compile(r"[ ,]+")

type Token = Annotated[str, StringConstraints(min_length=1, max_length=8192, pattern=r"^[\x21-\x7e]+$")]


class TokenAnswer(BaseModel):
    """What a token endpoint must answer (RFC 6749 §5.1), and no more than we can keep and send."""

    access_token: Token
    token_type: Annotated[str, StringConstraints(pattern=r"(?i)^bearer$")] = "bearer"  # noqa: S105 - a kind
    expires_in: Annotated[int, Field(ge=0, le=10 * 365 * 86_400)] | None = None
    refresh_token: Token | None = None
    scope: Annotated[str, StringConstraints(max_length=4096, pattern=r"^[\x20-\x7e]*$")] | None = None


class ErrorAnswer(BaseModel):
    error: str


@dataclass(eq=False)
class HttpxAuthorization:
    """`allow_loopback` is set by the devstack alone."""

    allow_loopback: bool = False

    @cached_property
    def client(self) -> httpx.AsyncClient:
        return guarded_client(loopback=self.allow_loopback)

    def authorize_url(self, provider: OAuthProvider, state: str, verifier: str, redirect_uri: str) -> str:
        return prepare_grant_uri(
            provider.authorize_url,
            client_id=provider.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=" ".join(provider.scopes),
            state=state,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )

    async def redeem(self, client: OAuthClient, code: str, verifier: str, redirect_uri: str) -> IssuedTokens:
        return await self._tokens(
            client, prepare_token_request("authorization_code", "", redirect_uri, code=code, code_verifier=verifier)
        )

    async def refresh(self, client: OAuthClient, refresh_token: str) -> IssuedTokens:
        return await self._tokens(client, prepare_token_request("refresh_token", refresh_token=refresh_token))

    async def fetch(self, client: OAuthClient) -> IssuedTokens:
        scope = " ".join(client.provider.scopes)
        return await self._tokens(client, prepare_token_request("client_credentials", scope=scope))

    async def revoke(self, client: OAuthClient, token: str, kind: str) -> None:
        form, _ = prepare_revoke_token_request(token, kind)
        await self._post(client, client.provider.revoke_url or "", form)

    async def close(self) -> None:
        if "client" in self.__dict__:
            await self.client.aclose()

    async def _tokens(self, client: OAuthClient, form: str) -> IssuedTokens:
        body = await self._post(client, client.provider.token_url, form)
        try:
            answer = TokenAnswer.model_validate_json(body)
        except ValidationError as error:
            if (code := error_in(body)) in OAUTH_ERRORS:  # some say no with a 200
                raise TokenRefused(code) from error
            raise errors.UpstreamFailed("The authorization server gave no token that can be used.") from error
        return IssuedTokens(
            access_token=answer.access_token,
            refresh_token=answer.refresh_token,
            expires_in=answer.expires_in,
            scopes=None if answer.scope is None else split(answer.scope),
        )

    async def _post(self, client: OAuthClient, url: str, form: str) -> bytes:
        """The body of a good answer. What is sent works once, so it never goes on a connection that the other side
        may just be closing for having been idle.
        """
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "PinkSync/1",
        }
        if client.provider.client_auth is ClientAuth.POST:
            form += f"&client_id={quote_plus(client.provider.client_id)}&client_secret={quote_plus(client.secret)}"
            auth = None
        else:  # each part in form encoding first (RFC 6749 §2.3.1), which Authlib leaves out
            auth = httpx.BasicAuth(quote_plus(client.provider.client_id), quote_plus(client.secret))
        request = self.client.build_request("POST", url, headers=headers, content=form.encode())
        if auth:
            request = next(auth.auth_flow(request))
        response, body = await fetch(self.client, request, most_bytes=MOST_BYTES, seconds=OVERALL_SECONDS)
        if response.status_code in (400, 401, 403):
            raise TokenRefused(error_in(body))
        if response.status_code != 200:
            raise errors.UpstreamFailed(f"The authorization server answered {response.status_code}.")
        return body


def error_in(body: bytes) -> str:
    """The code alone: what else they say is theirs."""
    try:
        error = ErrorAnswer.model_validate_json(body).error
    except ValidationError:
        return "other"
    return error if error in OAUTH_ERRORS else "other"


def split(scope: str) -> Sequence[str]:
    """By spaces, as RFC 6749 has it, or by commas, as some do."""
    return tuple(word for word in SCOPE_SEPARATOR.split(scope) if word)
