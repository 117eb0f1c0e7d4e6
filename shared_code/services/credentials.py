"""The partners' own credentials: opened here, put into one request, and shown nowhere."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import orjson

from shared_code import errors
from shared_code.model import AuthMethod, Partner
from shared_code.ports import Cipher

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


@dataclass(frozen=True, slots=True)
class PartnerCredentials:
    cipher: Cipher

    async def injection(self, partner: Partner) -> Injection:
        """Nothing for a partner without credentials. Raises Conflict for one that has to connect by OAuth first."""
        if partner.auth_method is AuthMethod.OAUTH2:
            raise errors.Conflict("This partner connects by OAuth, and there is no connection yet.")
        if partner.credentials_encrypted is None:
            return Injection()
        sealed = self.cipher.open(partner.credentials_encrypted, str(partner.partner_id), CREDENTIALS_FIELD)
        return checked(injection(partner.auth_method, orjson.loads(sealed)))


def checked(made: Injection) -> Injection:
    for name, value in made.headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS or not sendable(value):
            raise errors.Conflict("The partner's stored credentials cannot be sent in a header; store others.")
    return made


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
