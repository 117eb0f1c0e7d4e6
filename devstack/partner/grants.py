"""What the partner's OAuth server has given out, kept in the database; and how it is told to behave."""

import hmac
import secrets
import sqlite3
import time
from base64 import urlsafe_b64encode
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

from pydantic import BaseModel, ConfigDict, Field

CODE_SECONDS = 60


class Behaviour(BaseModel):
    """What `PUT /_devstack/oauth/{client_id}` takes. Each PUT replaces the one before."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    expires_in: int | None = Field(default=3600, ge=0)
    refresh_token: bool = True
    rotate: bool = Field(default=False, description="a refresh token works once; a new one comes with each refresh")
    deny: bool = Field(default=False, description="the person says no")
    ask: bool = Field(default=False, description="the person is asked, on a page with two buttons")
    iss: str | None = Field(default=None, description="another issuer than our own")
    delay_ms: int = Field(default=0, ge=0, le=60_000)
    status: int | None = Field(default=None, ge=400, le=599)
    error: str | None = Field(default=None, description="what the token endpoint refuses with, such as invalid_grant")
    nonsense: bool = Field(default=False, description="the token endpoint answers a megabyte of no JSON")
    times: int | None = Field(default=None, ge=1, description="how many calls delay, status, error, nonsense hit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an authorization request asked for."""

    client_id: str
    redirect_uri: str
    challenge: str
    scope: str


@dataclass(eq=False)
class Grants:
    database: sqlite3.Connection
    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _told: dict[str, tuple[Behaviour, int | None]] = field(default_factory=dict[str, tuple[Behaviour, int | None]])

    def tell(self, client_id: str, behaviour: Behaviour) -> None:
        self._told[client_id] = (behaviour, behaviour.times)

    def behaviour(self, client_id: str) -> Behaviour:
        return self._told.get(client_id, (Behaviour(), None))[0]

    def fault(self, client_id: str) -> Behaviour:
        """How this one call is to be treated."""
        behaviour, left = self._told.get(client_id, (Behaviour(), None))
        if left is None:
            return behaviour
        if left == 0:
            return behaviour.model_copy(update={"delay_ms": 0, "status": None, "error": None, "nonsense": False})
        self._told[client_id] = (behaviour, left - 1)
        return behaviour

    def new_code(self, asked: Asked) -> str:
        code = f"code_{secrets.token_urlsafe(24)}"
        self.database.execute(
            "INSERT INTO oauth_codes VALUES (?, ?, ?, ?, ?, ?, 0)",
            (code, asked.client_id, asked.redirect_uri, asked.challenge, asked.scope, time.time() + CODE_SECONDS),
        )
        return code

    def redeem(self, code: str, client_id: str, redirect_uri: str, verifier: str) -> str | None:
        """The scope of the grant; None for a code that is not good. Shown twice, it takes its tokens along."""
        row = self.database.execute(
            "SELECT client_id, redirect_uri, challenge, scope, expires_at, used FROM oauth_codes WHERE code = ?",
            (code,),
        ).fetchone()
        if row is None:
            return None
        if row[5]:
            self.database.execute("UPDATE oauth_tokens SET revoked = 1 WHERE grant_id = ?", (code,))
            return None
        self.database.execute("UPDATE oauth_codes SET used = 1 WHERE code = ?", (code,))
        fits = (row[0], row[1]) == (client_id, redirect_uri) and hmac.compare_digest(row[2], challenge_of(verifier))
        return row[3] if fits and time.time() < row[4] else None

    def new_token(self, kind: str, grant_id: str, client_id: str, scope: str, expires_in: int | None) -> str:
        token = f"{kind}_{secrets.token_urlsafe(32)}"
        ends = None if expires_in is None else time.time() + expires_in
        self.database.execute(
            "INSERT INTO oauth_tokens VALUES (?, ?, ?, ?, ?, ?, 0)", (token, kind, grant_id, client_id, scope, ends)
        )
        return token

    def grant_of(self, refresh_token: str, client_id: str) -> tuple[str, str] | None:
        """The id and scope of the grant that a good refresh token is of."""
        return self.database.execute(
            """SELECT grant_id, scope FROM oauth_tokens
               WHERE token = ? AND kind = 'rt' AND client_id = ? AND revoked = 0""",
            (refresh_token, client_id),
        ).fetchone()

    def revoke(self, token: str, client_id: str) -> None:
        """With a refresh token goes every token of its grant (RFC 7009 §2.1)."""
        self.database.execute(
            """UPDATE oauth_tokens SET revoked = 1 WHERE client_id = ? AND (token = ? OR grant_id IN (
                 SELECT grant_id FROM oauth_tokens WHERE token = ? AND kind = 'rt'))""",
            (client_id, token, token),
        )

    def retire(self, token: str) -> None:
        self.database.execute("UPDATE oauth_tokens SET revoked = 1 WHERE token = ?", (token,))

    def reject_access_tokens(self, client_id: str) -> None:
        self.database.execute("UPDATE oauth_tokens SET revoked = 1 WHERE client_id = ? AND kind = 'at'", (client_id,))

    def opens(self, access_token: str) -> bool:
        row = self.database.execute(
            "SELECT expires_at FROM oauth_tokens WHERE token = ? AND kind = 'at' AND revoked = 0", (access_token,)
        ).fetchone()
        return row is not None and (row[0] is None or time.time() < row[0])


def challenge_of(verifier: str) -> str:
    """S256 (RFC 7636)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
