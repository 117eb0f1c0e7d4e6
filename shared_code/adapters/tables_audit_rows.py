"""An archived audit row as an entity of Azure Table Storage, and back.

A text property holds 32,000 characters at most, so longer metadata lies compressed in binary properties beside it.
"""

import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from shared_code.model import AuditEntry, AuditLink, AuditRow, Severity
from shared_code.model.archive import canonical, moment_text
from shared_code.ports import StoredLink

type Entity = dict[str, Any]

LONG = "Edm.Int64"
LONGEST_TEXT = 30_000
LONGEST_BINARY = 60_000
PACKED = "metadata_packed_"


def to_entity(link: AuditLink) -> Entity:
    """The same entity for the same link, whoever makes it."""
    row, entry = link.row, link.row.entry
    values: Entity = {
        "PartitionKey": row.partition,
        "RowKey": row.name,
        "number": (row.number, LONG),
        "sequence": (link.sequence, LONG),
        "previous_row": link.previous_row,
        "previous_hash": link.previous_hash,
        "hash": link.hash,
        "log_id": str(entry.log_id),
        "event_type": entry.event_type,
        "severity": entry.severity.value,
        "message": entry.message,
        "actor": entry.actor,
        "target": entry.target,
        "partner_id": str(entry.partner_id) if entry.partner_id else None,
        "request_id": entry.request_id,
        "ip_address": entry.ip_address,
        "user_agent": entry.user_agent,
        "created_at": moment_text(entry.created_at),
        **metadata_properties(canonical(entry.metadata)),
    }
    return {name: value for name, value in values.items() if value is not None}


def metadata_properties(text: str) -> Entity:
    if len(text.encode("utf-16-le")) <= 2 * LONGEST_TEXT:
        return {"metadata": text}
    packed = zlib.compress(text.encode())
    chunks = [packed[start : start + LONGEST_BINARY] for start in range(0, len(packed), LONGEST_BINARY)]
    return {f"{PACKED}{index}": chunk for index, chunk in enumerate(chunks)}


def stored(entity: Mapping[str, Any]) -> StoredLink:
    """What lies there. A link only if it is exactly what `to_entity` makes of it, its hash left out of account."""
    found = dict(entity)
    try:
        link = to_link(found)
        exact = plain(to_entity(link)) | {"hash": None} == plain(found) | {"hash": None}
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, RecursionError):
        link, exact = None, False
    return StoredLink(
        partition=found["PartitionKey"],
        row=found["RowKey"],
        link=link if exact else None,
        hash=str(found.get("hash", "")),
    )


def to_link(entity: Mapping[str, Any]) -> AuditLink:
    partner_id = entity.get("partner_id")
    entry = AuditEntry(
        log_id=UUID(entity["log_id"]),
        event_type=entity["event_type"],
        severity=Severity(entity["severity"]),
        message=entity["message"],
        actor=entity["actor"],
        target=entity["target"],
        partner_id=UUID(partner_id) if partner_id else None,
        metadata=json.loads(metadata_text(entity)),
        request_id=entity.get("request_id"),
        ip_address=entity.get("ip_address"),
        user_agent=entity.get("user_agent"),
        created_at=datetime.fromisoformat(entity["created_at"]),
    )
    return AuditLink(
        row=AuditRow(number=entity["number"].value, entry=entry),
        sequence=entity["sequence"].value,
        previous_row=entity["previous_row"],
        previous_hash=entity["previous_hash"],
    )


def metadata_text(entity: Mapping[str, Any]) -> str:
    if "metadata" in entity:
        return entity["metadata"]
    count = sum(1 for name in entity if name.startswith(PACKED))
    return zlib.decompress(b"".join(entity[f"{PACKED}{index}"] for index in range(count))).decode()


def plain(entity: Entity) -> Entity:
    """Typed values as pairs, so that what is to be written and what was read can be compared."""
    return {name: tuple(value) if isinstance(value, tuple) else value for name, value in entity.items()}
