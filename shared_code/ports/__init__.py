"""The holes in the wall: what the services need from outside, in domain words. Adapters fill them.

Every method may raise the port's own failure from `errors` (the store: StoreUnavailable; the webhook
service: WebhookServiceUnavailable); no library's exception comes through. What is not found is None.
"""

from shared_code.ports.access import ONLY_ACCESS, AccessCache, AddressLimit, Ask, Cipher, KeyHasher, Look
from shared_code.ports.audit import AuditArchive, AuditFilter, AuditTrail, ChainHeads, StoredLink
from shared_code.ports.backends import Answers, Backend, Circuit, Forward, KeyUse, PartnerApi, Returned, Strikes
from shared_code.ports.retention import Perishable, Retention
from shared_code.ports.small import Clock, Probe, SchemaCheck, Secret, Secrets, SignatureCheck, UrlRule
from shared_code.ports.store import (
    Action,
    ApiKeys,
    Deliveries,
    DeliveryFilter,
    Endpoints,
    EventKey,
    Events,
    EventTypes,
    InboundSecrets,
    Inbox,
    Lesson,
    Outbox,
    Partners,
    Publications,
    Replies,
    Reviews,
    SealedValues,
    Store,
    Transaction,
    Users,
)
from shared_code.ports.timers import TimerLedger
from shared_code.ports.webhooks import MessageLost, Outcome, Refused, WebhookEndpoints, WebhookMessages, WebhookService

__all__ = [
    "ONLY_ACCESS",
    "AccessCache",
    "Action",
    "AddressLimit",
    "Answers",
    "ApiKeys",
    "Ask",
    "AuditArchive",
    "AuditFilter",
    "AuditTrail",
    "Backend",
    "ChainHeads",
    "Cipher",
    "Circuit",
    "Clock",
    "Deliveries",
    "DeliveryFilter",
    "Endpoints",
    "EventKey",
    "EventTypes",
    "Events",
    "Forward",
    "InboundSecrets",
    "Inbox",
    "KeyHasher",
    "KeyUse",
    "Lesson",
    "Look",
    "MessageLost",
    "Outbox",
    "Outcome",
    "PartnerApi",
    "Partners",
    "Perishable",
    "Probe",
    "Publications",
    "Refused",
    "Replies",
    "Retention",
    "Returned",
    "Reviews",
    "SchemaCheck",
    "SealedValues",
    "Secret",
    "Secrets",
    "SignatureCheck",
    "Store",
    "StoredLink",
    "Strikes",
    "TimerLedger",
    "Transaction",
    "UrlRule",
    "Users",
    "WebhookEndpoints",
    "WebhookMessages",
    "WebhookService",
]
