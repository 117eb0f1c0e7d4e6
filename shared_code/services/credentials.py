"""The partners' own credentials: opened here, put into one request, and shown nowhere."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import orjson

from shared_code import errors
from shared_code.model import AuthMethod, Partner
from shared_code.ports import Cipher

CREDENTIALS_FIELD = "partners.credentials"
DEFAULT_HEADER = "X-API-Key"


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
        return injection(partner.auth_method, orjson.loads(sealed))


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
