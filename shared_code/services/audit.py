"""The audit trail: who changed what, written in the change's own transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID, uuid4

from shared_code.model import AuditEntry, Caller, Grant, Origin, Severity
from shared_code.ports import Transaction
from shared_code.redaction import redact
from shared_code.services.telling import tell_of_fact

MASK = "***"
SECRET_WORDS = ("secret", "token", "password", "credential", "api_key", "authorization")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What happened, for the audit trail. `changes` is masked before it is written."""

    event_type: str
    message: str
    target: str
    partner_id: UUID | None = None
    severity: Severity = Severity.INFO
    changes: Mapping[str, object] | None = None


async def note(transaction: Transaction, caller: Caller, fact: Fact, now: datetime) -> None:
    await transaction.audit.add(
        AuditEntry(
            log_id=uuid4(),
            event_type=fact.event_type,
            severity=fact.severity,
            message=redact(fact.message),
            actor=caller.actor,
            target=fact.target,
            partner_id=fact.partner_id,
            metadata={"changes": masked(fact.changes)} if fact.changes else {},
            request_id=caller.origin.request_id,
            ip_address=caller.origin.address,
            user_agent=redact(caller.origin.agent) if caller.origin.agent else None,
            created_at=now,
        )
    )
    tell_of_fact(transaction, fact.event_type, fact.target)


def masked(changes: Mapping[str, object]) -> dict[str, object]:
    """The same, with the value of every field that sounds like a secret hidden, however deep; and what looks like
    one, wherever it stands.
    """
    return {name: MASK if secret(name) and value is not None else shown(value) for name, value in changes.items()}


def shown(value: object) -> object:
    if isinstance(value, Mapping):
        return masked(cast(Mapping[str, object], value))
    if isinstance(value, list):
        return [shown(each) for each in cast(list[object], value)]
    return redact(value) if isinstance(value, str) else value


def secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRET_WORDS)


def system_caller(name: str) -> Caller:
    """The gateway itself at work, with no person or key behind it: a timer, a command."""
    grant = Grant(key_id=f"system:{name}", partner_id=None, partner_status=None, scopes=("admin",), limit_per_minute=0)
    return Caller(grant=grant, origin=Origin(request_id=f"{name}-{uuid4().hex[:16]}"))
