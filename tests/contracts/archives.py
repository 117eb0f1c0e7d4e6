"""The audit archive on each of its adapters, with a hand that tampers with what lies there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from azure.data.tables import TableClient, UpdateMode

from shared_code.adapters.memory_audit_archive import MemoryAuditArchive
from shared_code.adapters.tables_audit_archive import TablesAuditArchive, by_connection_string
from shared_code.model import AuditLink
from shared_code.ports import AuditArchive

type Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Archive:
    port: AuditArchive
    places: Callable[[], list[Place]]
    """Partition and row key of all that lies there, in the order of the archive."""
    edit: Callable[[Place, Mapping[str, Any]], None]
    """Changes text properties of a row by hand."""
    delete: Callable[[Place], None]


def memory_archive() -> Archive:
    port = MemoryAuditArchive()

    def edit(place: Place, changes: Mapping[str, Any]) -> None:
        kept = port.rows[place]
        assert kept.link
        changed: AuditLink | None = kept.link
        own = {name: value for name, value in changes.items() if name in ("previous_hash", "previous_row")}
        entry = {name: value for name, value in changes.items() if name in ("message", "target")}
        changed = replace(kept.link, **own, row=replace(kept.link.row, entry=replace(kept.link.row.entry, **entry)))
        foreign = changes.keys() - own.keys() - entry.keys() - {"hash"}
        port.rows[place] = replace(kept, link=None if foreign else changed, hash=str(changes.get("hash", kept.hash)))

    return Archive(port, lambda: sorted(port.rows), edit, lambda place: port.rows.pop(place) and None)


def tables_archive(connection_string: str) -> Archive:
    """A table of its own."""
    name = f"archive{uuid4().hex}"
    client = TableClient.from_connection_string(connection_string, name)
    client.create_table()

    def edit(place: Place, changes: Mapping[str, Any]) -> None:
        client.update_entity({"PartitionKey": place[0], "RowKey": place[1], **changes}, mode=UpdateMode.MERGE)

    def places() -> list[Place]:
        return [(entity["PartitionKey"], entity["RowKey"]) for entity in client.list_entities()]

    return Archive(
        TablesAuditArchive(by_connection_string(connection_string), name),
        places,
        edit,
        lambda place: client.delete_entity(*place),
    )
