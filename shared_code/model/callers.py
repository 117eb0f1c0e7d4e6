"""Who calls: keys at rest, what a proven key may do, and where it stands with its limit."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from shared_code import errors
from shared_code.model.carrier import carrier
from shared_code.model.partners import PartnerStatus, tenant_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key at rest. `key_id` is its public part; the secret exists only with its holder."""

    key_id: str
    key_hash: str = field(repr=False)
    partner_id: UUID | None
    """None: a key of the house itself, not of any partner."""
    name: str
    scopes: Sequence[str]
    rate_limit_per_minute: int | None = None
    """None: the partner's own limit holds."""
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    created_at: datetime
    created_by: str | None = None

    @property
    def tenant(self) -> str:
        return tenant_of(self.partner_id)

    def dead(self, now: datetime) -> bool:
        return self.revoked_at is not None or (self.expires_at is not None and self.expires_at <= now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a proven key may do right now: the key and its partner in one record."""

    key_id: str
    partner_id: UUID | None
    partner_status: PartnerStatus | None
    scopes: Sequence[str]
    limit_per_minute: int
    own_limit: bool = False
    """The key has a limit of its own, and is counted alone instead of with its partner's other keys."""
    expires_at: datetime | None = None

    @property
    def tenant(self) -> str:
        return tenant_of(self.partner_id)

    @property
    def bucket(self) -> str:
        """What its requests are counted under."""
        return self.key_id if self.own_limit else self.tenant


@carrier
class Origin:
    """Where a request came from; every audit row carries it."""

    request_id: str
    address: str | None = None
    agent: str | None = None
    traceparent: str | None = None
    """The trace that the caller says this is a part of, as W3C writes it."""


@carrier
class Caller:
    """Who calls, as proven by the credential alone. Services take the tenant from here and nowhere else."""

    grant: Grant
    origin: Origin

    @property
    def partner_id(self) -> UUID | None:
        return self.grant.partner_id

    @property
    def actor(self) -> str:
        return self.grant.key_id

    @property
    def is_house(self) -> bool:
        return self.grant.partner_id is None

    @property
    def is_admin(self) -> bool:
        return self.is_house and "admin" in self.grant.scopes

    def holds(self, scope: str) -> bool:
        return scope_held(scope, self.grant.scopes)

    def reach(self, partner_id: UUID) -> UUID:
        """The partner, if this caller may act for it; otherwise it is as if it did not exist."""
        if self.is_admin or self.grant.partner_id == partner_id:
            return partner_id
        raise errors.NotFound()

    def target(self, partner_id: UUID | None) -> UUID:
        """The partner that an action is for: a partner's own, or the one that the house names."""
        if self.grant.partner_id:
            return self.reach(partner_id or self.grant.partner_id)
        if partner_id is None:
            raise errors.InvalidBody(
                violations=[errors.Violation(pointer="/partner_id", detail="An admin key must name the partner.")]
            )
        return partner_id

    def own(self) -> UUID | None:
        """The partner whose rows this caller may list; None means everyone's, for an admin."""
        if self.grant.partner_id or self.is_admin:
            return self.grant.partner_id
        raise errors.AdminOnly()


def scope_held(scope: str, held: Container[str]) -> bool:
    """`read:*` holds every `read:<area>`, but no `proxy:*` holds a partner's proxy; `admin` holds all."""
    action = scope.partition(":")[0]
    return scope in held or "admin" in held or (action != "proxy" and f"{action}:*" in held)


@carrier
class LimitState:
    """Where a caller stands with its limit after this request was counted. `reset` is epoch seconds."""

    limit: int
    remaining: int
    reset: int
    retry_after: int = 0
    """Whole seconds until the next request is allowed; 0 if this one was."""

    @property
    def exceeded(self) -> bool:
        return self.retry_after > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    email: str
    password_hash: str = field(repr=False)
    role: str
    created_at: datetime
