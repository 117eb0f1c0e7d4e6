"""The partners' own credentials: opened here, put into one request, and shown nowhere."""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import orjson

from shared_code import errors
from shared_code.model import AuthMethod, Partner
from shared_code.ports import Cipher, Returned
from shared_code.services.tokens import Tokens

CREDENTIALS_FIELD = "partners.credentials"
DEFAULT_HEADER = "X-API-Key"
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]{1,100}", re.ASCII)
RESERVED_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""What says where a request goes and where it ends is never a credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What a request to the partner's API must carry."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    query: str = field(default="", repr=False)
    token: str | None = field(default=None, repr=False)
    """The access token in it, if it is one that can be renewed."""


@dataclass(frozen=True, slots=True)
class PartnerCredentials:
    cipher: Cipher
    tokens: Tokens

    async def call(self, partner: Partner, send: Callable[[Injection], Awaitable[Returned]]) -> Returned:
        """The answer to a request with the partner's credentials in it. A token that is answered 401 is renewed,
        and the request is sent once more: it was not worked.
        """
        injection = await self.injection(partner)
        returned = await send(injection)
        if returned.status == 401 and (renewed := await self.renewed(partner, injection)):
            return await send(renewed)
        return returned

    async def renewed(self, partner: Partner, rejected: Injection) -> Injection | None:
        """For a request that was answered 401: what to send instead, if there is anything."""
        if rejected.token is None:
            return None
        token = await self.tokens.after_rejection(partner.partner_id, rejected.token)
        return bearer(token) if token else None

    async def injection(self, partner: Partner) -> Injection:
        """Nothing for a partner without credentials. Raises Conflict for one that has to connect by OAuth first,
        NeedsReauth or TokenUnavailable when there is no token to be had.
        """
        if partner.auth_method is AuthMethod.OAUTH2:
            return bearer(await self.tokens.current(partner.partner_id))
        if partner.credentials_encrypted is None:
            return Injection()
        sealed = self.cipher.open(partner.credentials_encrypted, str(partner.partner_id), CREDENTIALS_FIELD)
        known = orjson.loads(sealed)
        if unsendable(partner.auth_method, known):
            raise errors.Conflict("The partner's stored credentials cannot be sent in a header; store others.")
        return injection(partner.auth_method, known)


def bearer(token: str) -> Injection:
    return Injection(headers={"Authorization": f"Bearer {token}"}, token=token)


def unsendable(method: AuthMethod, known: Mapping[str, str]) -> str | None:
    """The one among these credentials that no header can carry, if there is one."""
    for name, value in injection(method, known).headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS:
            return "header"
        if not sendable(value):
            return "token" if method is AuthMethod.BEARER else "api_key"
    return None


def sendable(value: str) -> bool:
    """Can a header have this value?"""
    return value.isascii() and value.replace("\t", " ").isprintable()


def injection(method: AuthMethod, known: Mapping[str, str]) -> Injection:
    match method:
        case AuthMethod.API_KEY if "query" in known:
            return Injection(query=urlencode({known["query"]: known["api_key"]}))
        case AuthMethod.API_KEY:
            return Injection(headers={known.get("header", DEFAULT_HEADER): known["api_key"]})
        case AuthMethod.BEARER:
            return Injection(headers={"Authorization": f"Bearer {known['token']}"})
        case AuthMethod.BASIC:
            pair = f"{known['username']}:{known['password']}".encode()
            return Injection(headers={"Authorization": f"Basic {base64.b64encode(pair).decode()}"})
        case _:
            return Injection()
