"""Connections by OAuth: a partner's authorization server, the way to a grant, and the tokens it gave."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID

LONGEST_AHEAD = timedelta(seconds=60)


class OAuthGrant(StrEnum):
    AUTHORIZATION_CODE = "authorization_code"
    CLIENT_CREDENTIALS = "client_credentials"


class ClientAuth(StrEnum):
    """How the client proves itself to the token endpoint."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"


class ConnectionStatus(StrEnum):
    CONNECTED = "connected"
    NEEDS_REAUTH = "needs_reauth"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthProvider:
    """The settings of one partner's authorization server."""

    partner_id: UUID
    grant: OAuthGrant
    authorize_url: str | None
    token_url: str
    revoke_url: str | None = None
    issuer: str | None = None
    client_id: str
    client_secret_encrypted: str = field(repr=False)
    client_auth: ClientAuth = ClientAuth.BASIC
    scopes: Sequence[str] = ()
    created_at: datetime
    updated_at: datetime

    def honours_tokens_of(self, other: Self) -> bool:
        """Whether tokens that the other gave are any good here. If not, they must not be sent here either."""
        return (self.grant, self.token_url, self.client_id) == (other.grant, other.token_url, other.client_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthLink:
    """Leave to connect one partner, once. Whoever holds the link has it; here is only its hash."""

    link_hash: bytes = field(repr=False)
    partner_id: UUID
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthState:
    """One browser on its way to a partner's authorization server and back."""

    state_hash: bytes = field(repr=False)
    browser_hash: bytes = field(repr=False)
    """Of the cookie that this browser was given."""
    partner_id: UUID
    verifier_encrypted: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthConnection:
    """What a partner has granted us. A disconnected one that still has tokens owes their revocation."""

    partner_id: UUID
    status: ConnectionStatus = ConnectionStatus.DISCONNECTED
    access_token_encrypted: str | None = field(default=None, repr=False)
    refresh_token_encrypted: str | None = field(default=None, repr=False)
    scopes: Sequence[str] = ()
    expires_at: datetime | None = None
    """Of the access token; None: the other side did not say."""
    refreshed_at: datetime | None = None
    """When the tokens were got."""
    rejected_at: datetime | None = None
    """When a token was last renewed because it had been answered 401."""
    failures: int = 0
    """Attempts to renew, or to revoke, that have failed in a row."""
    not_before: datetime | None = None
    """Nobody tries again before this."""
    lease_until: datetime | None = None
    """Somebody is at it until this."""
    ended_at: datetime | None = None
    """When somebody disconnected it; until the settings are put again, nothing connects it by itself."""
    version: int = 0
    """Grows with every change; a change of an older version is refused."""

    @property
    def has_tokens(self) -> bool:
        return bool(self.access_token_encrypted or self.refresh_token_encrypted)

    def usable(self, now: datetime) -> bool:
        alive = self.expires_at is None or now < self.expires_at
        return self.status is ConnectionStatus.CONNECTED and self.access_token_encrypted is not None and alive

    def ageing(self, now: datetime) -> bool:
        """Time to renew: the last minute, or the last tenth if the token lives for less than ten minutes."""
        if self.expires_at is None or self.refreshed_at is None:
            return False
        return now >= self.expires_at - min(LONGEST_AHEAD, (self.expires_at - self.refreshed_at) / 10)

    def resting(self, now: datetime) -> bool:
        return self.not_before is not None and now < self.not_before

    def failed(self, now: datetime, rest: timedelta) -> Self:
        return replace(self, failures=self.failures + 1, not_before=now + rest, lease_until=None)

    def ended(self, now: datetime) -> Self:
        """Disconnected by hand. The tokens stay until they are revoked."""
        kept = replace(self, status=ConnectionStatus.DISCONNECTED, scopes=(), ended_at=now, expires_at=None)
        return replace(kept, failures=0, not_before=None, lease_until=None)

    def without_tokens(self, status: ConnectionStatus) -> Self:
        return replace(
            self,
            status=status,
            access_token_encrypted=None,
            refresh_token_encrypted=None,
            expires_at=None,
            failures=0,
            not_before=None,
            lease_until=None,
        )
