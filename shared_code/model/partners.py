"""Partners: what they are, and how they move between states."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from shared_code import errors
from shared_code.model.records import Json

DEFAULT_RATE_LIMIT_PER_MINUTE = 100
PARTNER_SCOPES = ("read:*", "write:*")
"""What a partner's first key may do when nothing else is said: all, but only on its own data."""
SCOPE = re.compile(r"admin|(read|write):(\*|[a-z][a-z0-9_\-]{0,63})|proxy:[0-9a-f\-]{36}")
HOUSE = "house"
"""The tenant of keys that belong to no partner."""


def tenant_of(partner_id: UUID | None) -> str:
    return str(partner_id) if partner_id else HOUSE


class PartnerType(StrEnum):
    PARTNER = "partner"
    VENDOR = "vendor"
    PROVIDER = "provider"


class AuthMethod(StrEnum):
    OAUTH2 = "oauth2"
    API_KEY = "api_key"
    BEARER = "bearer"
    BASIC = "basic"


class PartnerStatus(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    INACTIVE = "inactive"


class PartnerMove(StrEnum):
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    DEACTIVATE = "deactivate"


MOVES: Mapping[PartnerMove, tuple[frozenset[PartnerStatus], PartnerStatus]] = {
    PartnerMove.ACTIVATE: (
        frozenset({PartnerStatus.PENDING, PartnerStatus.SUSPENDED, PartnerStatus.INACTIVE}),
        PartnerStatus.ACTIVE,
    ),
    PartnerMove.SUSPEND: (
        frozenset({PartnerStatus.PENDING, PartnerStatus.ACTIVE}),
        PartnerStatus.SUSPENDED,
    ),
    PartnerMove.DEACTIVATE: (
        frozenset({PartnerStatus.PENDING, PartnerStatus.ACTIVE, PartnerStatus.SUSPENDED}),
        PartnerStatus.INACTIVE,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    partner_id: UUID
    name: str
    type: PartnerType
    status: PartnerStatus
    auth_method: AuthMethod
    api_endpoint: str | None = None
    credentials_encrypted: str | None = field(default=None, repr=False)
    rate_limit_per_minute: int = DEFAULT_RATE_LIMIT_PER_MINUTE
    metadata: Json = field(default_factory=dict[str, object])
    created_at: datetime
    updated_at: datetime
    last_sync_at: datetime | None = None
    deleted_at: datetime | None = None
    created_by: str | None = None

    def moved(self, move: PartnerMove, now: datetime) -> Self:
        """This partner after the move. An illegal one raises IllegalMove."""
        allowed, result = MOVES[move]
        if self.deleted_at or self.status not in allowed:
            state = "deleted" if self.deleted_at else self.status.value
            raise errors.IllegalMove(f"The partner is {state}; `{move.value}` is not possible from there.")
        return replace(self, status=result, updated_at=now)
