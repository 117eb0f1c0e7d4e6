"""Connections by OAuth: their tables, and the partners' authorization servers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from shared_code.model import OAuthConnection, OAuthLink, OAuthProvider, OAuthState


class OAuthProviders(Protocol):
    async def put(self, provider: OAuthProvider) -> None:
        """In the place of the settings that were there; `created_at` stays."""
        ...

    async def get(self, partner_id: UUID) -> OAuthProvider | None: ...


class OAuthLinks(Protocol):
    async def add(self, link: OAuthLink) -> None: ...
    async def use(self, link_hash: bytes, partner_id: UUID, now: datetime) -> OAuthLink | None:
        """The link, for the one caller that uses it; None if it is used, over, or another partner's."""
        ...

    async def get(self, link_hash: bytes) -> OAuthLink | None: ...
    async def void(self, partner_id: UUID) -> None:
        """The partner's links are gone."""
        ...


class OAuthStates(Protocol):
    async def add(self, state: OAuthState) -> None: ...
    async def use(self, state_hash: bytes, browser_hash: bytes, now: datetime) -> OAuthState | None:
        """The state, for the one caller that uses it; None if it is used, over, or another browser's."""
        ...

    async def get(self, state_hash: bytes) -> OAuthState | None: ...
    async def void(self, partner_id: UUID) -> None:
        """Whoever is on the way to this partner's server comes back in vain."""
        ...


class OAuthConnections(Protocol):
    async def get(self, partner_id: UUID, *, lock: bool = False) -> OAuthConnection | None: ...
    async def save(self, connection: OAuthConnection) -> bool:
        """Adds or changes it. False, and nothing changes, if it is no longer at the version it was read at."""
        ...

    async def calm(self, partner_id: UUID) -> None:
        """What failed before counts no longer. The version stays: whoever is renewing it now is not disturbed."""
        ...

    async def claim(self, partner_id: UUID, version: int, now: datetime, until: datetime) -> OAuthConnection | None:
        """Ours alone to renew until then; None if another has it, or it is at another version."""
        ...

    async def due(self, now: datetime, idle_since: datetime, limit: int) -> Sequence[UUID]:
        """Whose tokens were last got before `idle_since` and can be renewed, or are to be revoked still; those that
        nobody is at, and that need not rest. The longest untouched first.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """What we are to one authorization server."""

    provider: OAuthProvider
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedTokens:
    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    """None: the one we have stays good."""
    expires_in: int | None = None
    """Seconds; None: the other side did not say."""
    scopes: Sequence[str] | None = None
    """None: those that were asked for."""


class AuthorizationServer(Protocol):
    """Partners' authorization servers, behind the egress guard. Raises:

    TokenRefused: it said no, in OAuth's own words. UpstreamFailed, UpstreamTimeout, UpstreamUnreachable and
    EgressDenied: it said nothing that can be used.
    """

    def authorize_url(self, provider: OAuthProvider, state: str, verifier: str, redirect_uri: str) -> str:
        """Where to send the browser, with the verifier's S256 challenge."""
        ...

    async def redeem(self, client: OAuthClient, code: str, verifier: str, redirect_uri: str) -> IssuedTokens: ...
    async def refresh(self, client: OAuthClient, refresh_token: str) -> IssuedTokens: ...
    async def fetch(self, client: OAuthClient) -> IssuedTokens:
        """By the client's own credentials."""
        ...

    async def revoke(self, client: OAuthClient, token: str, kind: str) -> None:
        """`kind` is `refresh_token` or `access_token`. Safe to repeat."""
        ...

    async def close(self) -> None: ...


class TokenRefused(Exception):
    """An authorization server refused; `error` is one of OAuth's own codes, or `other`."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error
