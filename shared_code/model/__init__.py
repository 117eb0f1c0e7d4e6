"""The nouns of PinkSync: frozen records and the rules on them that need no I/O.

*partner* (any of the three types), *endpoint* (a webhook URL of a partner), *event* (one published fact),
*delivery* (one event to one endpoint), *attempt* (one try of a delivery). All times are aware and UTC.
"""

from shared_code.model.archive import AuditLink, AuditRow, ChainHead
from shared_code.model.callers import ApiKey, Caller, Grant, LimitState, Origin, User, scope_held
from shared_code.model.carrier import carrier
from shared_code.model.partners import (
    DEFAULT_RATE_LIMIT_PER_MINUTE,
    HOUSE,
    MOVES,
    PARTNER_SCOPES,
    SCOPE,
    AuthMethod,
    Partner,
    PartnerMove,
    PartnerStatus,
    PartnerType,
    tenant_of,
)
from shared_code.model.records import MOST_COUNTED, AuditEntry, Health, Json, Listing, Page, Severity, StoredReply
from shared_code.model.timers import TimerReport, TimerResult, TimerRun, TimerState
from shared_code.model.webhooks import (
    Attempt,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EndpointState,
    Event,
    EventType,
    InboundSecret,
    InboxItem,
    OutboxItem,
    OutboxKind,
    Review,
    ReviewKind,
)

__all__ = [
    "DEFAULT_RATE_LIMIT_PER_MINUTE",
    "HOUSE",
    "MOST_COUNTED",
    "MOVES",
    "PARTNER_SCOPES",
    "SCOPE",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "AuditLink",
    "AuditRow",
    "AuthMethod",
    "Caller",
    "ChainHead",
    "Delivery",
    "DeliveryStatus",
    "Endpoint",
    "EndpointState",
    "Event",
    "EventType",
    "Grant",
    "Health",
    "InboundSecret",
    "InboxItem",
    "Json",
    "LimitState",
    "Listing",
    "Origin",
    "OutboxItem",
    "OutboxKind",
    "Page",
    "Partner",
    "PartnerMove",
    "PartnerStatus",
    "PartnerType",
    "Review",
    "ReviewKind",
    "Severity",
    "StoredReply",
    "TimerReport",
    "TimerResult",
    "TimerRun",
    "TimerState",
    "User",
    "carrier",
    "scope_held",
    "tenant_of",
]
