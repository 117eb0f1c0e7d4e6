"""What is kept of a connection: tokens sealed to their partner and field, and what is told when it is made or lost."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared_code.model import (
    Caller,
    ConnectionStatus,
    OAuthConnection,
    OAuthProvider,
    Partner,
    PartnerMove,
    PartnerStatus,
    Severity,
    tenant_of,
)
from shared_code.ports import AccessCache, Cipher, IssuedTokens, OAuthClient, Transaction
from shared_code.services.audit import Fact, note
from shared_code.services.events import EventService, NewEvent

SECRET_FIELD = "oauth_providers.client_secret"  # noqa: S105 - where one is kept
ACCESS_FIELD = "oauth_connections.access_token"
REFRESH_FIELD = "oauth_connections.refresh_token"
LOST = "partner.needs_reauth"
SHORTEST_REST = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class ConnectionBook:
    cipher: Cipher
    cache: AccessCache
    events: EventService

    def client(self, provider: OAuthProvider) -> OAuthClient:
        sealed, owner = provider.client_secret_encrypted, str(provider.partner_id)
        return OAuthClient(provider=provider, secret=self.cipher.open(sealed, owner, SECRET_FIELD).decode())

    def access_token(self, connection: OAuthConnection) -> str:
        return self._opened(connection, connection.access_token_encrypted, ACCESS_FIELD)

    def refresh_token(self, connection: OAuthConnection) -> str:
        return self._opened(connection, connection.refresh_token_encrypted, REFRESH_FIELD)

    def with_tokens(
        self, before: OAuthConnection, provider: OAuthProvider, issued: IssuedTokens, now: datetime
    ) -> OAuthConnection:
        """`now` is from before the tokens were asked for: so they never live longer here than there."""
        owner, lives = str(before.partner_id), issued.expires_in
        new_refresh = issued.refresh_token and self.cipher.seal(issued.refresh_token.encode(), owner, REFRESH_FIELD)
        return replace(
            before,
            status=ConnectionStatus.CONNECTED,
            access_token_encrypted=self.cipher.seal(issued.access_token.encode(), owner, ACCESS_FIELD),
            refresh_token_encrypted=new_refresh or before.refresh_token_encrypted,
            scopes=tuple(issued.scopes if issued.scopes is not None else before.scopes or provider.scopes),
            expires_at=None if lives is None else now + timedelta(seconds=lives),
            refreshed_at=now,
            failures=0,
            not_before=None,
            lease_until=None,
            ended_at=None,
        )

    async def connected(self, transaction: Transaction, caller: Caller, partner: Partner, now: datetime) -> None:
        """A pending partner becomes active by it; one in any other state stays what it is."""
        if partner.status is PartnerStatus.PENDING:
            partner = partner.moved(PartnerMove.ACTIVATE, now)
            await transaction.partners.save(partner)
            transaction.after_commit(lambda: self.cache.forget(tenant_of(partner.partner_id)))
        message = f"Partner {partner.name} was connected by OAuth."
        await note(transaction, caller, fact(partner, "connection.connected", message), now)

    async def lost(
        self, transaction: Transaction, caller: Caller, partner: Partner, reason: str, now: datetime
    ) -> None:
        """Only a person can connect it again: told in the audit trail, and to the partner."""
        message = f"The connection of partner {partner.name} is lost ({reason}); it must be connected again."
        await note(transaction, caller, fact(partner, LOST, message, reason), now)
        if partner.status in (PartnerStatus.ACTIVE, PartnerStatus.PENDING):
            payload = {"partner_id": str(partner.partner_id), "reason": reason}
            event = NewEvent(event_type=LOST, payload=payload, partner_id=partner.partner_id)
            await self.events.publish(caller, event)

    def _opened(self, connection: OAuthConnection, sealed: str | None, field: str) -> str:
        if sealed is None:
            raise ValueError(f"there is no {field}")
        return self.cipher.open(sealed, str(connection.partner_id), field).decode()


def rest(failures: int, longest: timedelta) -> timedelta:
    """Doubling from five seconds."""
    return min(SHORTEST_REST * 2 ** min(failures, 12), longest)


async def note_failure(transaction: Transaction, claimed: OAuthConnection, now: datetime, longest: timedelta) -> bool:
    """Written on the row as it is, whose tokens may be under a newer key by now. False if it is no longer ours."""
    found = await transaction.connections.get(claimed.partner_id, lock=True)
    if found is None or found.version != claimed.version:
        return False
    return await transaction.connections.save(found.failed(now, rest(claimed.failures, longest)))


async def end_connection(transaction: Transaction, partner_id: UUID, now: datetime) -> None:
    """Nobody can use it, or make another; the timer revokes its tokens."""
    await transaction.oauth_links.void(partner_id)
    await transaction.oauth_states.void(partner_id)
    connection = await transaction.connections.get(partner_id, lock=True)
    if connection:
        await transaction.connections.save(connection.ended(now))


def fact(partner: Partner, event_type: str, message: str, reason: str | None = None) -> Fact:
    return Fact(
        event_type=event_type,
        message=message,
        target=str(partner.partner_id),
        partner_id=partner.partner_id,
        severity=Severity.WARNING if reason else Severity.INFO,
        changes={"reason": reason} if reason else None,
    )
